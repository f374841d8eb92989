"""Convolution and transposed convolution; each is one function of (input, state).

Causal: a convolution's window ends at the newest sample of its output frame, and the state is the
samples that the next windows still need (zeros before the start). A transposed convolution's
output frame starts with its input frame, and the state is what spills over into the next ones::

    convolution, kernel 4, stride 2      transposed convolution, kernel 4, stride 2
    state  x x|x x|x x                   frame 0    y y y y
           -------                       frame 1        y y y y
               -------                   output     y y|y y|
                 new state: x x          new state          y y

Otherwise both are centred: the signal is padded by reflection, the output trimmed on both sides,
and the state stays ``None``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.seanet.weight_norm import Foldable


class Conv(nn.Module):
    """Convolution from T samples to ``ceil(T / stride)`` frames; causal needs T a multiple."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        causal: bool = False,
    ):
        super().__init__()
        self.causal = causal
        self.stride = stride
        self.context = (kernel_size - 1) * dilation + 1 - stride
        self.conv = Foldable("conv", nn.Conv1d(in_dim, out_dim, kernel_size, stride, dilation=dilation))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """``x (B, C, T)`` and the last samples ``(B, C, context)`` to ``(B, C', T / stride)``, state."""
        if self.causal:
            if state is None:
                state = x.new_zeros(*x.shape[:2], self.context)
            x = torch.cat([state, x], dim=2)
            state = x[:, :, x.shape[2] - self.context :]
        else:
            right = self.context // 2
            # So that the last window is full.
            extra = -x.shape[2] % self.stride
            x = reflect_pad(x, self.context - right, right + extra)
        return self.conv.convolution(x), state


class ConvTranspose(nn.Module):
    """Transposed convolution from T frames to ``T * stride`` samples."""

    def __init__(self, in_dim: int, out_dim: int, kernel_size: int, stride: int, causal: bool = False):
        super().__init__()
        self.causal = causal
        self.stride = stride
        self.overlap = kernel_size - stride
        self.convtr = Foldable("convtr", nn.ConvTranspose1d(in_dim, out_dim, kernel_size, stride))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """``x (B, C, T)`` and the spill ``(B, C', overlap)`` to ``(B, C', T * stride)``, state."""
        convolution = self.convtr.convolution
        samples = x.shape[2] * self.stride
        # The bias comes last, or samples that two calls share would receive it twice.
        y = F.conv_transpose1d(x, convolution.weight, stride=self.stride)
        if self.causal:
            if state is not None:
                y = y + F.pad(state, (0, samples))
            y, state = y.split([samples, self.overlap], dim=2)
        else:
            left = self.overlap - self.overlap // 2
            y = y[:, :, left : left + samples]
        assert convolution.bias is not None
        return y + convolution.bias[:, None], state


def reflect_pad(x: Tensor, left: int, right: int) -> Tensor:
    """``x (B, C, T)`` to ``(B, C, left + T + right)``, mirrored without repeating the edge samples.

    A signal too short to mirror is lengthened by zeros first, which are cut off again after.
    """
    lacking = max(0, max(left, right) - x.shape[2] + 1)
    padded = F.pad(F.pad(x, (0, lacking)), (left, right), mode="reflect")
    return padded[:, :, : padded.shape[2] - lacking]
