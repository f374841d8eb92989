"""From the transformers' frame rate to that of the tokens, and back; each a function of (input, state)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Downsample(nn.Module):
    """Strided causal convolution; before the start, and after an end amid a window, the edge frame is repeated.

    The state is the last frames and, for each signal, 1 when it has begun: zeros are a start here too.
    """

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv = nn.Conv1d(dim, dim, 2 * stride, stride, bias=False)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``x (B, C, T)`` to ``(B, C, ceil(T / stride))``; T is a multiple of the stride, but at the end."""
        context = x[:, :, :1].expand(-1, -1, self.stride)
        if state is not None:
            context = torch.where(state[1] > 0, state[0], context)
        extended = torch.cat([context, x], dim=2)
        following = extended[:, :, extended.shape[2] - self.stride :], torch.ones_like(extended[:, :1, :1])
        extra = -x.shape[2] % self.stride
        if extra:
            extended = torch.cat([extended, x[:, :, -1:].expand(-1, -1, extra)], dim=2)
        return self.conv(extended), following


class Upsample(nn.Module):
    """Transposed convolution of each channel on its own; the state is what spills over."""

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.conv = nn.ConvTranspose1d(dim, dim, 2 * stride, stride, groups=dim, bias=False)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x (B, C, T)`` to ``(B, C, T * stride)``."""
        y = self.conv(x)
        frames = x.shape[2] * self.stride
        if state is not None:
            y = y + F.pad(state, (0, frames))
        y, following = y.split([frames, self.stride], dim=2)
        return y, following
