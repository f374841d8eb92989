"""Teachers of the distillation: speech models, and language models timed by words."""

from codec.train.teachers import language, speech  # noqa: F401  (registers the two types)
from codec.train.teachers.registry import Teacher, Utterance, build_teacher, teacher_configs

__all__ = ["Teacher", "Utterance", "build_teacher", "teacher_configs"]
