"""Teachers of the distillation: models of audio, language models timed by words, and labels."""

from codec.align.types import Utterance
from codec.teachers.registry import Teacher, build_teacher, teacher_configs

__all__ = ["Teacher", "Utterance", "build_teacher", "teacher_configs"]
