"""Options that several commands share: fields of their configs, and annotations of single parameters."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from codec.cli.dataclass_options import annotations_of, flag

FLAGS = {"model": flag("--model", "-m")}
"""How they look on the command line, where ``--its-name`` will not do."""


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Which model computes, where and by what."""

    model: str = "default"
    """A shipped model's name, a folder with config.json, or a hub id, as org/name or org/name@revision."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    engine: str = "auto"
    """auto, torch, compile, graph, onnx, or a folder of codec export --onnx."""


@dataclass(frozen=True, kw_only=True)
class FileOptions(ModelOptions):
    """The same for commands that write files."""

    overwrite: bool = False
    """Replace existing files."""
    skip_existing: bool = False
    """Pass over inputs whose output is there, as after a stop."""


if TYPE_CHECKING:
    Model: TypeAlias = str
    Device: TypeAlias = str
    Engine: TypeAlias = str
else:
    _ANNOTATIONS = annotations_of(ModelOptions, FLAGS)
    Model, Device, Engine = (_ANNOTATIONS[name] for name in ("model", "device", "engine"))
