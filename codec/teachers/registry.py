"""Teachers by type. A new one is one file in this folder with ``@teacher("type")``."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any, Protocol

from codec.align.types import Alignment, Utterance
from codec.config import flatten, from_dict, to_dict
from codec.data import Clip
from codec.encoders.layers import layer_name
from codec.quantizers.base import changed_settings
from codec.registry import Registry
from codec.teachers.features.cache import ClipFeatures, FeatureInfo
from codec.teachers.features.options import TeacherOptions, stated
from codec.teachers.names import name_model

_TEACHERS: Registry[type[Any]] = Registry("teacher", "codec.teachers")
_INERT = ("device", "remote_code", "alignments")
"""Options that change no feature: where and how a model runs, and where alignments are kept."""


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
    cls, config = _read(name, options)
    teacher: Teacher = cls(config)
    info = dataclasses.replace(teacher.info, options=read_options(name, options).record)
    # Another package's teacher may be read-only; its features then keep no options.
    with contextlib.suppress(AttributeError):
        teacher.info = info
    return teacher


def read_options(name: str, options: dict[str, Any]) -> TeacherOptions:
    """What the options of the teacher called ``name`` say of its features, without its model.

    Raises:
        CodecError: for an unknown type or option.
    """
    return TeacherOptions(flatten(_changed(name, options)), stated(options))


def _read(name: str, options: dict[str, Any]) -> tuple[type[Any], Any]:
    """A teacher's class and its config."""
    values = dict(options)
    kind = values.pop("type", None)
    cls = _TEACHERS.find(kind, f"teachers.{name}.type")
    return cls, from_dict(cls.Config, values, f"teachers.{name}")


def _changed(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options that are not at their defaults, in one form, and those of a teacher inside this one."""
    config = _read(name, options)[1]
    plain = to_dict(config)
    changed: dict[str, Any] = {"type": options["type"]}
    for key in changed_settings(config):
        value = plain[key]
        if key in _INERT:
            continue
        if key == "layer":
            value = layer_name(value)
        elif key == "model" and isinstance(value, str):
            value = name_model(value)
        elif isinstance(value, dict) and "type" in value:
            value = _changed(f"{name}.{key}", value)
        changed[key] = value
    return changed
