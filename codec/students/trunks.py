"""Trunks of the students by name: maps in, one vector out. A new one is a class with ``@trunk("name")``."""

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from codec.registry import Registry
from codec.students.blocks import ConvNorm, FusedSplit, InvertedResidual
from codec.students.config import Size


class Trunk(Protocol):
    """A registered trunk, built as ``cls(size, num_mels)``; ``(B, 1, num_mels, frames)`` to ``(B, dim)``."""

    dim: int

    def __call__(self, x: Tensor) -> Tensor: ...


TRUNKS: Registry[type[nn.Module]] = Registry("student")


def trunk(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: register a :class:`Trunk`."""
    return TRUNKS.register(name)


_STAGES = (
    # kernel, widening, channels, depth, stride, gated
    (3, 1, 16, 1, 1, False),
    (3, 3, 24, 2, 2, False),
    (5, 3, 40, 3, 2, True),
    (3, 3, 80, 4, 2, False),
    (3, 6, 112, 2, 1, True),
    (5, 6, 160, 3, 2, True),
)


@trunk("mobilenet")
class MobileTrunk(nn.Module):
    """Inverted residuals with gates (the class of MobileNetV3, Howard et al. 2019), mean over the map.

    The stages are those of MobileNetV3-large, with whole widenings; ``size`` scales all channels.
    """

    WIDTHS: ClassVar[dict[Size, float]] = {"small": 0.3, "medium": 0.55, "large": 1.0}
    kernels = 1

    def __init__(self, size: Size, num_mels: int):
        super().__init__()
        width = self.WIDTHS[size]
        channels = _even(16 * width)
        layers: list[nn.Module] = [ConvNorm(1, channels, 3, stride=2)]
        for kernel, widening, base, depth, stride, gated in _STAGES:
            outputs = _even(base * width)
            for index in range(depth):
                step = stride if index == 0 else 1
                wide = widening * channels
                layers.append(InvertedResidual(channels, outputs, wide, kernel, step, gated, self.kernels))
                channels = outputs
        self.dim = _even(960 * width)
        self.layers = nn.Sequential(*layers, ConvNorm(channels, self.dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x).mean(dim=(2, 3))


@trunk("dynamic")
class DynamicTrunk(MobileTrunk):
    """A :class:`MobileTrunk` whose pointwise convolutions mix four weights for each item.

    Of the class of DyMN (Schmid et al. 2023, arXiv 2310.15648), without its dynamic rectifiers and
    attention over coordinates.
    """

    kernels = 4


@trunk("res2net")
class Res2Trunk(nn.Module):
    """Fused splits (the class of ERes2Net, Chen et al. 2023), mean and deviation over time, a linear map."""

    CHANNELS: ClassVar[dict[Size, int]] = {"small": 12, "medium": 20, "large": 32}
    DIMS: ClassVar[dict[Size, int]] = {"small": 256, "medium": 384, "large": 512}
    _DEPTHS = (2, 2, 3, 2)

    def __init__(self, size: Size, num_mels: int):
        super().__init__()
        base = channels = self.CHANNELS[size]
        layers: list[nn.Module] = [ConvNorm(1, channels, 3, stride=2)]
        bands = -(-num_mels // 2)
        for stage, depth in enumerate(self._DEPTHS):
            for index in range(depth):
                outputs, step = base * 2**stage, 2 if index == 0 else 1
                layers.append(FusedSplit(channels, outputs, step))
                channels = outputs
            bands = -(-bands // 2)
        self.layers, self.dim = nn.Sequential(*layers), self.DIMS[size]
        self.project = nn.Linear(2 * channels * bands, self.dim)

    def forward(self, x: Tensor) -> Tensor:
        rows = self.layers(x).flatten(1, 2)
        mean = rows.mean(dim=2, keepdim=True)
        deviation = ((rows - mean).square().mean(dim=2) + 1e-5).sqrt()
        return self.project(torch.cat([mean.squeeze(2), deviation], dim=1))


def _even(channels: float) -> int:
    """The nearest multiple of 8, at least 8: what vector units like."""
    return max(8, 8 * round(channels / 8))
