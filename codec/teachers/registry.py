"""Teachers by type. A new one is one file in this folder with ``@teacher("type")``."""

from collections.abc import Callable
from typing import Any, Protocol

from codec.align.types import Alignment, Utterance
from codec.config import from_dict
from codec.data import Clip
from codec.registry import Registry
from codec.teachers.features.cache import ClipFeatures, FeatureInfo

_TEACHERS: Registry[type[Any]] = Registry("teacher", "codec.teachers")


class Teacher(Protocol):
    """A registered teacher; built as ``cls(config)`` from its nested ``Config`` dataclass."""

    Config: type
    info: FeatureInfo
    sample_rate: int | None
    """Hz of the audio it needs; ``None``: it needs no audio."""
    needs_words: bool

    def prepare(self, clips: list[Clip], words: dict[str, Alignment]) -> None:
        """Check all clips before work starts; raises CodecError for clips it cannot process."""

    def features(self, batch: list[Utterance]) -> list[ClipFeatures]:
        """One entry per utterance, independent of what else is in the batch."""


def teacher(name: str) -> Callable[[type[Any]], type[Any]]:
    """Class decorator: register a teacher type; see :class:`Teacher`."""

    return _TEACHERS.register(name)


def teacher_configs() -> dict[str, type]:
    """The ``Config`` dataclass of every type."""
    return {name: cls.Config for name, cls in _TEACHERS.items()}


def build_teacher(name: str, options: dict[str, Any]) -> Teacher:
    """Build the teacher called ``name``; ``options["type"]`` picks the class.

    Raises:
        CodecError: for an unknown type or option, or a model that cannot be loaded.
    """
    values = dict(options)
    kind = values.pop("type", None)
    cls = _TEACHERS.find(kind, f"teachers.{name}.type")
    return cls(from_dict(cls.Config, values, f"teachers.{name}"))
