"""Convolution and transposed convolution; each is one function of (input, state).

Causal: a convolution's window ends at the newest sample of its output frame, and the state is the
samples that the next windows still need (zeros before the start). A transposed convolution's
output frame starts with its input frame, and the state is the last of these, which reaches into the next one::

    convolution, kernel 4, stride 2      transposed convolution, kernel 4, stride 2
    state  x x|x x|x x                   frame 0    y y y y
           -------                       frame 1        y y y y
               -------                   output     y y|y y|
                 new state: x x          new state: input frame 1

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
_LARGE = 2**23
"""Numbers in a weight, from which on it is one up to :data:`_MANY` frames, since torch's kernel reads it slowly."""
_MANY = 256


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
            x = torch.cat([state, x], dim=2) if self.context else x
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
    """Transposed convolution from T frames to ``T * stride`` samples, of twice the stride's width."""

    def __init__(self, in_dim: int, out_dim: int, stride: int, causal: bool = False):
        super().__init__()
        self.causal = causal
        self.stride = stride
        self.convtr = Foldable("convtr", nn.ConvTranspose1d(in_dim, out_dim, 2 * stride, stride))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """``x (B, C, T)`` and the frame before it ``(B, C, 1)`` to ``(B, C', T * stride)``, state."""
        if self.causal:
            if state is None:
                state = x.new_zeros(*x.shape[:2], 1)
            return self._between(torch.cat([state, x], dim=2)), x[:, :, x.shape[2] - 1 :]
        left = self.stride - self.stride // 2
        return self._between(F.pad(x, (1, 1)))[:, :, left : left + x.shape[2] * self.stride], None

    def _between(self, x: Tensor) -> Tensor:
        """Samples where the windows of neighbours overlap: ``(B, C, n + 1)`` to ``(B, C', n * stride)``."""
        convolution = self.convtr.convolution
        few = _MANY if convolution.weight.numel() >= _LARGE else _FEW
        # An exported graph takes any number of frames, so it must not depend on a comparison with one.
        if not torch.compiler.is_compiling() and x.shape[2] <= few + 1 and x.device.type == "cpu":
            return self._of_few_frames(x, convolution)
        y = F.conv_transpose1d(x, convolution.weight, convolution.bias, self.stride)
        return y[:, :, self.stride : y.shape[2] - self.stride]

    def _of_few_frames(self, x: Tensor, convolution: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
        """The same as one product with a matrix: torch's kernel takes several times as long for a frame of a stream."""
        products = x.transpose(1, 2) @ convolution.weight.flatten(1)
        here, later = products.unflatten(2, (-1, 2, self.stride)).unbind(3)
        y = (here[:, 1:] + later[:, :-1]).transpose(1, 2).flatten(2)
        assert convolution.bias is not None
        return y + convolution.bias[:, None]


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
    if left == right == 0:
        return x
    lacking = max(0, max(left, right) - x.shape[2] + 1)
    if not lacking:
        return F.pad(x, (left, right), mode="reflect")
    padded = F.pad(F.pad(x, (0, lacking)), (left, right), mode="reflect")
    return padded[:, :, : padded.shape[2] - lacking]
