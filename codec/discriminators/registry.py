"""Discriminators by type; a config names each, by its type unless it says another."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import from_dict
from codec.registry import Registry

_DISCRIMINATORS: Registry[type[Any]] = Registry("discriminator", "codec.discriminators")


@dataclass
class Opinion:
    """What one sub-discriminator makes of a waveform.

    Attributes:
        logits: ``(B, ...)``; high for real.
        features: feature maps ``(B, ...)``, first layer first.
    """

    logits: Tensor
    features: list[Tensor]


@dataclass
class Judgement:
    """Discriminators' outputs for a generator step, one entry per sub-discriminator.

    Attributes:
        real_logits: tensors of any shape, detached.
        fake_logits: likewise, with gradient.
        real_features: per sub-discriminator, a list of feature maps, detached.
        fake_features: likewise, with gradient.
        strength: scalar from 0 to 1, the factor on the weights of losses that use this.
    """

    real_logits: list[Tensor]
    fake_logits: list[Tensor]
    real_features: list[list[Tensor]]
    fake_features: list[list[Tensor]]
    strength: Tensor | None = None


def discriminator(name: str) -> Callable[[type[Any]], type[Any]]:
    """Class decorator: register a discriminator.

    The class has a nested ``Config`` dataclass, is built as ``cls(config)``, and maps a waveform
    ``(B, T)`` to a list of :class:`Opinion`, one per sub-discriminator.
    """

    return _DISCRIMINATORS.register(name)


def build_discriminator(name: str, options: dict[str, Any]) -> nn.Module:
    """Build a registered discriminator from plain options; ``type`` is its name by default.

    Raises:
        CodecError: for a type that nobody registered, or an unknown option.
    """
    values = dict(options)
    discriminator_class = _DISCRIMINATORS.find(values.pop("type", name), f"discriminators.{name}")
    return discriminator_class(from_dict(discriminator_class.Config, values, f"discriminators.{name}"))


class ConvStack(nn.Module):
    """Convolutions with leaky ReLU between them; the last gives the logits.

    Args:
        layers: convolutions, normed or not, whose activations are the feature maps.
        last: convolution to the logits.
        slope: of the leaky ReLU for negative inputs.
        logits_are_features: whether the logits close the list of feature maps.
    """

    def __init__(self, layers: Iterable[nn.Module], last: nn.Module, slope: float, logits_are_features: bool):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = last
        self.slope = slope
        self.logits_are_features = logits_are_features

    def forward(self, x: Tensor) -> Opinion:
        """``x (B, C, ...)`` to logits ``(B, 1, ...)`` and feature maps."""
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), self.slope)
            features.append(x)
        logits = self.last(x)
        return Opinion(logits, [*features, logits] if self.logits_are_features else features)
