"""Teachers of the distillation: speech models, and language models timed by words."""

from codec.align.types import Utterance
from codec.teachers import language, speech  # noqa: F401  (registers the two types)
from codec.teachers import pooled  # noqa: F401  (another type)
from codec.teachers.registry import Teacher, build_teacher, teacher_configs

__all__ = ["Teacher", "Utterance", "build_teacher", "teacher_configs"]
