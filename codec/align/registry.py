"""Aligners by type: models that find when each word or phone was spoken."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from codec.align.types import Alignment, Unit, Utterance
from codec.config import from_dict
from codec.encoders.hub import teacher_id
from codec.errors import CodecError
from codec.registry import Registry


@dataclass(frozen=True)
class AlignerConfig:
    """The settings that every aligner has."""

    type: str
    """The name that the aligner is registered under."""

    @property
    def name(self) -> str:
        """Names the file of its alignments."""
        return self.type


@dataclass(frozen=True)
class ModelAlignerConfig(AlignerConfig):
    """Options of an aligner that runs a model of the user's choice."""

    model: str = ""
    """Hub id, folder, or package:NAME/FOLDER."""
    device: str = "cpu"

    @property
    def name(self) -> str:
        return f"{self.type}-{teacher_id(self.model)}".replace("/", "--")


class Aligner(Protocol):
    """A registered aligner, built as ``cls(config)`` from its nested ``Config``; its model is loaded then."""

    Config: type[AlignerConfig]
    unit: Unit
    sample_rate: int | None
    """Hz of the audio it is given; ``None``: it reads the clip's file itself."""

    def __init__(self, config: Any) -> None: ...

    def check_text(self, text: str) -> None:
        """Raises CodecError when a known text can never be aligned."""

    def align(self, batch: list[Utterance]) -> list[Alignment]:
        """An alignment per utterance: of the manifest's text where it is known, else recognised."""


_ALIGNERS: Registry[type[Aligner]] = Registry("aligner", "codec.align")


def aligner(name: str) -> Callable[[type[Aligner]], type[Aligner]]:
    """Class decorator: register an :class:`Aligner` under ``name``, which is its config's ``type``."""
    return _ALIGNERS.register(name)


def aligner_configs(unit: Unit) -> dict[str, type[AlignerConfig]]:
    """The ``Config`` of every aligner of that unit, by type."""
    return {name: cls.Config for name, cls in _ALIGNERS.items() if cls.unit == unit}


def words_options() -> dict[str, type[AlignerConfig]]:
    """Configs of all word aligners, by the heading of their options in ``--help``."""
    return {f"words.* where type={name}": config for name, config in aligner_configs("words").items()}


def read_words_config(values: Any) -> AlignerConfig:
    """The config of a word aligner from plain data, whose ``type`` names the aligner; ``ctc`` by default.

    A config that is one already is returned as it is.

    Raises:
        CodecError: for an unknown type, an aligner that gives no words, or an option that it does not have.
    """
    if isinstance(values, AlignerConfig):
        return values
    if not isinstance(values, dict):
        raise CodecError(f"config words: expected a mapping, got {values!r}")
    kind = values.get("type", "ctc")
    cls = _ALIGNERS.find(str(kind), "config words.type")
    if cls.unit != "words":
        known = ", ".join(sorted(aligner_configs("words")))
        raise CodecError(f"config words.type: {kind} gives {cls.unit}, not words; expected one of {known}")
    return from_dict(cls.Config, values, "words")


def build_aligner(config: AlignerConfig) -> Aligner:
    """The aligner of ``config.type``; its model is loaded here.

    Raises:
        CodecError: when the model cannot be loaded or a package is not installed.
    """
    return _ALIGNERS.find(config.type)(config)
