"""Generator losses by type. A loss's name is the weight's key in YAML and the tag in the log."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from torch import Tensor, nn

from codec.config import from_dict
from codec.errors import CodecError
from codec.registry import Registry
from codec.teachers.features.calibrate import TargetStatistics
from codec.train.types import LossInput

SHORTEST_WINDOW = 16
"""Samples of a spectrum's window, at least: frames overlap by three quarters of it."""

_LOSSES: Registry[type[Any]] = Registry("loss", "codec.train.losses", "codec.asr")


@dataclass(frozen=True)
class LossContext:
    """Facts of the model and data, fixed for a run."""

    sample_rate: int
    latent_dim: int
    num_codebooks: int
    teacher_dims: dict[str, int] = field(default_factory=dict)
    """Feature width of each teacher, by its name."""
    clip_teachers: frozenset[str] = frozenset()
    """Those that give one vector for a whole clip."""
    statistics: dict[str, TargetStatistics] = field(default_factory=dict)
    """Moments of the targets of each teacher that was calibrated."""
    name: str = ""
    """The loss's own, for its errors."""


def loss(name: str) -> Callable[[type[Any]], type[Any]]:
    """Class decorator: register a loss.

    The class has a nested ``Config`` dataclass, is built as ``cls(config, context)`` with a
    :class:`LossContext` that has its name, and maps a :class:`codec.train.types.LossInput` to a scalar.
    """

    return _LOSSES.register(name)


def typed_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """A loss's options with its ``type``: its name, unless they have another.

    A name ``distill_NAME`` that is not a type itself distils the teacher NAME.
    """
    prefix, _, teacher = name.partition("distill_")
    if "type" in options or name in _LOSSES or prefix or not teacher:
        return {"type": name, **options}
    return {"type": "distill", "teacher": teacher, **options}


def told_losses(losses: Mapping[str, dict[str, Any]], teachers: Mapping[str, str]) -> list[str]:
    """Losses of a config as ``training.json`` tells them: ``mel``, or ``distill:whisper-base``.

    Args:
        losses: options by name.
        teachers: of the config, by name: the models they are.
    """
    known = []
    for name, options in losses.items():
        values = typed_options(name, options)
        teacher = values.get("teacher")
        model = PurePosixPath(teachers.get(teacher, teacher)).name if teacher else None
        known.append(f"{values['type']}:{model}" if model else values["type"])
    return known


def build_loss(name: str, options: dict[str, Any], context: LossContext) -> nn.Module:
    """Build a registered loss from plain options.

    Args:
        name: the loss's own name, by which it is weighted and logged.
        options: of the loss; ``type`` is what it is registered as, its name by default, so that there can be
            several of one type.

    Raises:
        CodecError: for a type that is not registered, or an option that is unknown or does not fit; it names the loss.
    """
    loss_class, config = loss_config(name, options)
    try:
        return loss_class(config, dataclasses.replace(context, name=name))
    except CodecError as error:
        # Of a part that does not know whose it is, such as a filter bank.
        if f"losses.{name}" in str(error):
            raise
        raise CodecError(f"losses.{name}: {error}") from None


def loss_config(name: str, options: dict[str, Any]) -> tuple[type[Any], Any]:
    """A loss's class and its options as that class's ``Config``; needs neither data nor a model.

    Raises:
        CodecError: as :func:`build_loss`.
    """
    values = typed_options(name, options)
    loss_class = _LOSSES.find(values.pop("type"), f"losses.{name}")
    return loss_class, from_dict(loss_class.Config, values, f"losses.{name}")


def check_min_codebooks(count: int, context: LossContext) -> None:
    """Raise a :class:`CodecError` unless a loss may ask for clips of ``count`` codebooks or more."""
    if not 1 <= count <= context.num_codebooks:
        raise CodecError(
            f"losses.{context.name}: min_codebooks must lie from 1 to {context.num_codebooks}, the model's, got {count}"
        )


def check_least(context: LossContext, key: str, values: Iterable[float], least: float) -> None:
    """Raise a :class:`CodecError` unless all ``values`` of a loss's setting are ``least`` or more."""
    wrong = [value for value in values if not value >= least]
    if wrong:
        raise CodecError(f"losses.{context.name}: {key} must be {least:g} or more, got {wrong[0]}")


def check_teacher(name: str, teacher: str, known: Iterable[str]) -> None:
    """Raise a :class:`CodecError` unless the teacher of the loss ``name`` is configured."""
    if teacher not in known:
        told = ", ".join(sorted(known)) or "none"
        raise CodecError(
            f"losses.{name} needs a teacher {teacher!r}, configured: {told}; add teachers.{teacher} or remove the loss"
        )


def of_codebooks(values: Tensor, inputs: LossInput, least: int) -> Tensor:
    """``values (B,)`` of the clips that are decoded from ``least`` codebooks or more, zeros for the others."""
    return values if least == 1 else values * (inputs.quantizer.active >= least)
