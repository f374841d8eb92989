"""Teachers of the distillation: speech models, and language models timed by words."""

from codec.align.types import Utterance
from codec.teachers import language, pooled, speech  # noqa: F401  (registers the three types)
from codec.teachers.registry import Teacher, build_teacher, teacher_configs

__all__ = ["Teacher", "Utterance", "build_teacher", "teacher_configs"]
