"""Discriminators by name."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from codec.config import from_dict
from codec.errors import CodecError

_DISCRIMINATORS: dict[str, type[nn.Module]] = {}


@dataclass
class Opinion:
    """What one sub-discriminator makes of a waveform.

    Attributes:
        logits: ``(B, ...)``; high for real.
        features: feature maps ``(B, ...)``, first layer first.
    """

    logits: Tensor
    features: list[Tensor]


def discriminator(name: str):
    """Class decorator: register a discriminator.

    The class has a nested ``Config`` dataclass, is built as ``cls(config)``, and maps a waveform
    ``(B, T)`` to a list of :class:`Opinion`, one per sub-discriminator.
    """

    def register(discriminator_class: type[nn.Module]) -> type[nn.Module]:
        _DISCRIMINATORS[name] = discriminator_class
        return discriminator_class

    return register


def build_discriminator(name: str, options: dict[str, Any]) -> nn.Module:
    """Build a registered discriminator from plain options.

    Raises:
        CodecError: for a name that nobody registered, or an unknown option.
    """
    if name not in _DISCRIMINATORS:
        raise CodecError(f"unknown discriminator {name!r}; known: {', '.join(sorted(_DISCRIMINATORS))}")
    discriminator_class = _DISCRIMINATORS[name]
    return discriminator_class(from_dict(discriminator_class.Config, options, f"discriminators.{name}"))
