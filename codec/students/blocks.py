"""Blocks of the students' trunks, on maps ``(B, C, bands, frames)``.

Normalisation is over each item alone (Wu and He 2018), so that an item's vector depends neither on its
batch nor on how processes share it, in training as later.
"""

import torch
from torch import Tensor, nn


class ConvNorm(nn.Sequential):
    """Convolution without bias, normalisation, and a hard swish unless ``linear``."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, linear: bool = False
    ):
        convolution = nn.Conv2d(
            inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups, bias=False
        )
        super().__init__(convolution, *_after(outputs, linear))


class MixedConvNorm(nn.Module):
    """As a :class:`ConvNorm` of kernel 1 whose weight each item mixes of ``kernels`` weights.

    The shares are a softmax over what a small network makes of the item's mean (Chen et al. 2020, Dynamic
    Convolution, arXiv 1912.03458). Products with one matrix an item need no grouped convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernels: int = 4, linear: bool = False):
        super().__init__()
        self.outputs = outputs
        self.weight = nn.Parameter(torch.empty(kernels, outputs * inputs))
        nn.init.normal_(self.weight, std=inputs**-0.5)
        hidden = max(8, inputs // 4)
        self.shares = nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, kernels))
        self.after = nn.Sequential(*_after(outputs, linear))

    def forward(self, x: Tensor) -> Tensor:
        shares = self.shares(x.mean(dim=(2, 3))).softmax(dim=1)
        weight = (shares @ self.weight).unflatten(1, (self.outputs, x.shape[1]))
        return self.after((weight @ x.flatten(2)).unflatten(2, x.shape[2:]))


class ChannelGate(nn.Module):
    """Scale channels by a function of their means (Hu et al. 2018, squeeze and excitation)."""

    def __init__(self, channels: int):
        super().__init__()
        hidden = max(8, channels // 4)
        self.net = nn.Sequential(
            nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels), nn.Hardsigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.net(x.mean(dim=(2, 3)))[:, :, None, None]


class InvertedResidual(nn.Module):
    """Widen, filter each channel alone, narrow (Sandler et al. 2018); added to its input where shapes agree."""

    def __init__(
        self, inputs: int, outputs: int, wide: int, kernel: int, stride: int, gated: bool, kernels: int = 1
    ):
        """
        Args:
            wide: channels in between.
            gated: with a :class:`ChannelGate`.
            kernels: weights that the pointwise convolutions mix; 1 for plain ones.
        """
        super().__init__()
        self.body = nn.Sequential(
            pointwise(inputs, wide, kernels),
            ConvNorm(wide, wide, kernel, stride, groups=wide),
            ChannelGate(wide) if gated else nn.Identity(),
            pointwise(wide, outputs, kernels, linear=True),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.adds else self.body(x)


def pointwise(inputs: int, outputs: int, kernels: int, linear: bool = False) -> nn.Module:
    """A convolution of kernel 1, plain or mixed of ``kernels`` weights."""
    if kernels == 1:
        return ConvNorm(inputs, outputs, linear=linear)
    return MixedConvNorm(inputs, outputs, kernels, linear)


class FusedSplit(nn.Module):
    """A residual block of two halves, of which the second sees the first through a gate (Res2Net, ERes2Net).

    Chen et al. 2023 (arXiv 2305.12838), local fusion: with halves a and b, ``a' = conv(a)``,
    ``b' = conv((1 + g) a' + (1 - g) b)`` with ``g = tanh(f(a', b))`` at every point.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        half = outputs // 2
        self.enter = ConvNorm(inputs, 2 * half, stride=stride)
        self.first, self.second = ConvNorm(half, half, 3), ConvNorm(half, half, 3)
        self.gate = nn.Sequential(
            ConvNorm(2 * half, max(4, half // 2)), nn.Conv2d(max(4, half // 2), half, 1), nn.Tanh()
        )
        self.leave = ConvNorm(2 * half, outputs, linear=True)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, stride=stride, linear=True)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.enter(x).chunk(2, dim=1)
        a = self.first(a)
        gate = self.gate(torch.cat([a, b], dim=1))
        b = self.second((1 + gate) * a + (1 - gate) * b)
        return self.shortcut(x) + self.leave(torch.cat([a, b], dim=1))


def _after(channels: int, linear: bool) -> list[nn.Module]:
    norm = nn.GroupNorm(1, channels)
    return [norm] if linear else [norm, nn.Hardswish()]
