"""Convolution and transposed convolution; each is one function of (input, state).

Causal: a convolution's window ends at the newest sample of its output frame, and the state is the
samples that the next windows still need (zeros before the start). A transposed convolution's
output frame starts with its input frame, and the state is what spills over into the next ones::

    convolution, kernel 4, stride 2      transposed convolution, kernel 4, stride 2
    state  x x|x x|x x                   frame 0    y y y y
           -------                       frame 1        y y y y
               -------                   output     y y|y y|
                 new state: x x          new state          y y

At an end that is no whole frame, zeros fill up the last window of each convolution. With mirrored edges it
is the signal backwards, and so is what comes before the start; whether it has begun is part of the state.

Otherwise both are centred: the signal is padded by reflection, the output trimmed on both sides,
and the state stays ``None``.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.seanet.weight_norm import Foldable

_FEW = 4
"""Frames up to which a transposed convolution is a product with a matrix."""


class Conv(nn.Module):
    """Convolution from T samples to ``ceil(T / stride)`` frames; causal needs T a multiple, but at the end."""

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        causal: bool = False,
        mirrored: bool = False,
    ):
        super().__init__()
        self.causal = causal
        self.mirrored = mirrored
        self.stride = stride
        self.context = (kernel_size - 1) * dilation + 1 - stride
        self.conv = Foldable("conv", nn.Conv1d(in_dim, out_dim, kernel_size, stride, dilation=dilation))

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """``x (B, C, T)`` and the last samples ``(B, C, context)`` to ``(B, C', T / stride)``, state."""
        # So that the last window is full.
        extra = -x.shape[2] % self.stride
        if self.causal and self.mirrored and self.context:
            x, state = self._mirror(x, state, extra)
        elif self.causal:
            if state is None:
                state = x.new_zeros(*x.shape[:2], self.context)
            x = torch.cat([state, x], dim=2)
            state = x[:, :, x.shape[2] - self.context :]
            x = F.pad(x, (0, extra)) if extra else x
        else:
            right = self.context // 2
            x = reflect_pad(x, self.context - right, right + extra)
        return self.conv.convolution(x), state

    def _mirror(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None, extra: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """``x`` between what comes before it and, at the end, ``extra`` samples; the state.

        The state is the context and, for each signal, 1 when it has begun: zeros are a start here too.
        """
        fresh = mirrored_start(x, self.context)
        if state is not None:
            fresh = torch.where(state[1] > 0, state[0], fresh)
        extended = torch.cat([fresh, x], dim=2)
        begun = torch.ones_like(extended[:, :1, :1])
        following = extended[:, :, extended.shape[2] - self.context :], begun
        if extra:
            # A signal with so short an end may be short altogether, and mirrored at both ends.
            whole = reflect_pad(x, self.context, extra)
            backwards = extended[:, :, -1 - extra : -1].flip(2)
            extended = torch.cat([extended, backwards], dim=2)
            extended = whole if state is None else torch.where(state[1] > 0, extended, whole)
        return extended, following


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
        few = self.causal and x.shape[2] <= _FEW and self.overlap == self.stride and x.device.type == "cpu"
        if few and not torch.compiler.is_exporting():
            y = self._of_few_frames(x, convolution.weight)
        else:
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


    def _of_few_frames(self, x: Tensor, weight: Tensor) -> Tensor:
        """The same as one product with a matrix: torch's kernel takes several times as long for a frame of a stream."""
        products = x.transpose(1, 2) @ weight.flatten(1)
        here, later = products.unflatten(2, (weight.shape[1], 2, self.stride)).unbind(3)
        y = F.pad(here, (0, 0, 0, 0, 0, 1)) + F.pad(later, (0, 0, 0, 0, 1, 0))
        return y.transpose(1, 2).flatten(2)


def mirrored_start(x: Tensor, count: int) -> Tensor:
    """The samples that :func:`reflect_pad` puts before ``x (B, C, T)``: ``(B, C, count)``."""
    return F.pad(x, (0, count))[:, :, 1 : count + 1].flip(2)


def frames_to_start(layers: Iterable[nn.Module], samples: int) -> int:
    """Frames after which the first one is known, with mirrored edges.

    Args:
        layers: of an encoder or a decoder, in order.
        samples: of a frame, where it comes in.
    """
    frames = 1
    for layer in layers:
        for part in layer.modules():
            if isinstance(part, Conv):
                # The mirror image of the first sample's past reaches so far into its future.
                frames = max(frames, math.ceil((part.context + 1) / samples))
                samples //= part.stride
            elif isinstance(part, ConvTranspose):
                samples *= part.stride
    return frames


def reflect_pad(x: Tensor, left: int, right: int) -> Tensor:
    """``x (B, C, T)`` to ``(B, C, left + T + right)``, mirrored without repeating the edge samples.

    A signal too short to mirror is lengthened by zeros first, which are cut off again after.
    """
    lacking = max(0, max(left, right) - x.shape[2] + 1)
    padded = F.pad(F.pad(x, (0, lacking)), (left, right), mode="reflect")
    return padded[:, :, : padded.shape[2] - lacking]
