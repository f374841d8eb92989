"""Teachers of the distillation: speech models, and language models timed by words."""

from codec.align.types import Utterance
from codec.teachers import language, speech  # noqa: F401  (registers the two types)
from codec.teachers import pooled  # noqa: F401, I001  (a line of its own: it builds on the others)
from codec.teachers.registry import Teacher, build_teacher, teacher_configs

__all__ = ["Teacher", "Utterance", "build_teacher", "teacher_configs"]
