"""From the transformers' frame rate to that of the tokens, and back; each a function of (input, state)."""

import torch
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
    """Transposed convolution of each channel on its own, whose windows overlap by half; the state is what spills over.

    It is written as products, which take a hundredth of the time of torch's kernel for so many groups.
    """

    def __init__(self, dim: int, stride: int):
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.zeros(dim, 1, 2 * stride))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x (B, C, T)`` and the spill ``(B, C, stride)`` to ``(B, C, T * stride)`` and the next spill."""
        if state is None:
            state = x.new_zeros(*x.shape[:2], self.stride)
        here, later = (x.unsqueeze(3) * self.weight).split(self.stride, dim=3)
        spilled = torch.cat([state.unsqueeze(2), later], dim=2)[:, :, :-1]
        return (here + spilled).flatten(2), later[:, :, -1]
