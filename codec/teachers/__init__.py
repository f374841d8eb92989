"""Teachers of the distillation: models of speech, music and other audio, and language models timed by words."""

from codec.align.types import Utterance
from codec.teachers import audio, language  # noqa: F401  (register their types)
from codec.teachers.registry import Teacher, build_teacher, teacher_configs

__all__ = ["Teacher", "Utterance", "build_teacher", "teacher_configs"]
