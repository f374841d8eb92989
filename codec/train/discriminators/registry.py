"""Discriminators by type; a config names each; the name is the type by default."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from codec.config import from_dict
from codec.registry import Registry

_DISCRIMINATORS: Registry[type[Any]] = Registry("discriminator")


@dataclass
class Opinion:
    """The outputs of one sub-discriminator for a waveform.

    Attributes:
        logits: ``(B, ...)``; high for real.
        features: feature maps ``(B, ...)``, first layer first.
    """

    logits: Tensor
    features: list[Tensor]


def discriminator(name: str) -> Callable[[type[Any]], type[Any]]:
    """Class decorator: register a discriminator.

    The class has a nested ``Config`` dataclass, is built as ``cls(config)``, and maps a waveform
    ``(B, T)`` to a list of :class:`Opinion`, one per sub-discriminator.
    """

    return _DISCRIMINATORS.register(name)


def build_discriminator(name: str, options: dict[str, Any]) -> nn.Module:
    """Build a registered discriminator from plain options; ``type`` is its name by default.

    Raises:
        CodecError: for a type that is not registered, or an unknown option.
    """
    values = dict(options)
    discriminator_class = _DISCRIMINATORS.find(values.pop("type", name), f"discriminators.{name}")
    return discriminator_class(from_dict(discriminator_class.Config, values, f"discriminators.{name}"))
