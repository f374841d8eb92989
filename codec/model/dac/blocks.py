"""What encoder and decoder are made of: tensors ``(B, C, T)`` in and out, zeros beyond both ends."""

import math

import torch
from torch import Tensor, nn

from codec.model.seanet.blocks import snake

_DILATIONS = (1, 3, 9)
_KERNEL = 7


class Snake(nn.Module):
    """:func:`codec.model.seanet.blocks.snake` with a number learned per channel."""

    def __init__(self, dim: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, dim, 1))

    def forward(self, x: Tensor) -> Tensor:
        """``x (B, C, T)`` to the same shape."""
        return snake(x, self.alpha)


class Unit(nn.Module):
    """A dilated convolution and a pointwise one, added to their input."""

    def __init__(self, dim: int, dilation: int):
        super().__init__()
        padding = _KERNEL // 2 * dilation
        self.layers = nn.Sequential(
            Snake(dim),
            nn.Conv1d(dim, dim, _KERNEL, dilation=dilation, padding=padding),
            Snake(dim),
            nn.Conv1d(dim, dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``x (B, C, T)`` to the same shape."""
        return self.layers(x).add_(x)


def units(dim: int) -> list[Unit]:
    """The residual units of one stage."""
    return [Unit(dim, dilation) for dilation in _DILATIONS]


def plain(in_dim: int, out_dim: int, kernel_size: int) -> nn.Conv1d:
    """A convolution that keeps the length."""
    return nn.Conv1d(in_dim, out_dim, kernel_size, padding=kernel_size // 2)


def down(in_dim: int, out_dim: int, stride: int) -> nn.Conv1d:
    """A strided convolution, from ``n * stride`` samples to n."""
    return nn.Conv1d(in_dim, out_dim, 2 * stride, stride, padding=math.ceil(stride / 2))


def up(in_dim: int, out_dim: int, stride: int) -> nn.ConvTranspose1d:
    """A transposed convolution, from n samples to ``n * stride``, or one less where the stride is odd."""
    return nn.ConvTranspose1d(in_dim, out_dim, 2 * stride, stride, padding=math.ceil(stride / 2))
