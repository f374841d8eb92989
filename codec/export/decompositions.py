"""Operations written as others on the way into a graph, for speed or for rounding."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.export.fourier import irfft_by_matrix, rfft_by_matrix


def decompositions() -> dict[Any, Callable[..., Any]]:
    """The table for :meth:`torch.export.ExportedProgram.run_decompositions`."""
    return {
        torch.ops.aten.conv1d.default: conv1d_evenly_rounded,
        torch.ops.aten.log.default: log_evenly_rounded,
        torch.ops.aten.mean.dim: mean_evenly_rounded,
        torch.ops.aten.sum.dim_IntList: sum_evenly_rounded,
        torch.ops.aten.fft_rfft.default: rfft_by_matrix,
        torch.ops.aten.fft_irfft.default: irfft_by_matrix,
    }


def conv1d_evenly_rounded(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sequence[int] = (1,),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    groups: int = 1,
) -> Tensor:
    """``torch.conv1d``, as an image one pixel high, for which ONNX Runtime has better kernels.

    Those for one filter per channel take channels by sixteens; they are ten times as fast, and a frame is
    rounded the same alone as among others. Elsewhere a convolution with a single output is computed in
    another way than all others; there it is given one output more, which is dropped.
    """
    by_channel = groups == x.shape[1] == weight.shape[0] and groups % 16 == 0
    step, before = stride[0], padding[0]
    # A whole step before the first window, so that all others stay where they are.
    extra = 0 if by_channel else step
    x = F.pad(x, (extra + before, before)) if extra + before else x
    y = torch.ops.aten.convolution.default(
        x.unsqueeze(2), weight.unsqueeze(2), bias, [1, step], [0, 0], [1, dilation[0]], False, [0, 0], groups
    )
    y = y.squeeze(2)
    return y if by_channel else y[..., 1:]


_PACKET = 16
"""Numbers that a processor takes at once, at most."""


def log_evenly_rounded(x: Tensor) -> Tensor:
    """``torch.log`` of a last axis that is filled up to whole packets.

    ONNX Runtime computes the last numbers of an array, fewer than a packet, by another function, which
    rounds one in seven in another way: a frame would depend on how many others are computed with it.
    """
    size = x.shape[-1]
    if size % _PACKET == 0:
        # The operation stays.
        return NotImplemented
    return F.pad(x, (0, -size % _PACKET), value=1.0).log()[..., :size]


def sum_evenly_rounded(
    x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """``torch.sum`` over the last axis, as a product with a matrix of equal columns.

    ONNX Runtime sums one row in another order than each of many, and some of many by their place in memory. Its
    products do not depend on the number of rows, and are not quick with a single column.
    """
    return _weighed(x, 1.0, dim, keepdim, dtype)


def mean_evenly_rounded(
    x: Tensor, dim: Sequence[int] | None, keepdim: bool = False, *, dtype: torch.dtype | None = None
) -> Tensor:
    """``torch.mean`` over the last axis, likewise."""
    return _weighed(x, 1 / x.shape[-1], dim, keepdim, dtype)


def _weighed(
    x: Tensor, weight: float, dim: Sequence[int] | None, keepdim: bool, dtype: torch.dtype | None
) -> Tensor:
    """Sum over the last axis of ``x`` times a number; over another the operation stays as it is."""
    if not dim or [axis % x.ndim for axis in dim] != [x.ndim - 1] or dtype not in (None, x.dtype):
        return NotImplemented
    if not x.is_floating_point():
        return NotImplemented
    total = (x @ x.new_full((x.shape[-1], _PACKET), weight))[..., :1]
    return total if keepdim else total.squeeze(-1)
