"""The real Fourier transform and its inverse as matrix products, for graphs.

ONNX has a DFT, but ONNX Runtime is slow with lengths that are no power of two: one frame of 640 samples
takes it 130 us and a thousand frames 71 ms, products with a matrix 20 us and 9 ms. Even and odd parts of
a frame are transformed apart, which halves the products::

    Re X_k =  sum_n x_n cos(2 pi n k / N)      the same for n and N - n: sees x_n + x_{N-n} only
    Im X_k = -sum_n x_n sin(2 pi n k / N)      opposite for n and N - n: sees x_n - x_{N-n} only

A graph holds one period of each function, and looks the matrices up in it when it is loaded.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from codec.errors import CodecError


def rfft_by_matrix(frames: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """``torch.fft.rfft`` over the last axis: ``(..., N)`` to ``(..., N // 2 + 1)`` complex."""
    length = frames.shape[-1]
    _check(frames, n in (None, length), length, dim, norm)
    half = length // 2
    # x_1 .. x_{N/2-1} next to x_{N-1} .. x_{N/2+1}.
    rising, falling = frames[..., 1:half], frames[..., half + 1 :].flip(-1)
    even = torch.cat([frames[..., :1], rising + falling, frames[..., half : half + 1]], dim=-1)
    real = even @ _period(torch.cos, length, 1, frames)[_products(0, half, 0, half, length)]
    sines = _period(torch.sin, length, 1, frames)[_products(1, half - 1, 0, half, length)]
    return torch.complex(real, (falling - rising) @ sines)


def irfft_by_matrix(spectrum: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """``torch.fft.irfft`` over the last axis: ``(..., N // 2 + 1)`` complex to ``(..., N)``."""
    half = spectrum.shape[-1] - 1
    length = 2 * half
    _check(spectrum, n in (None, length), length, dim, norm)
    real, imag = spectrum.real, spectrum.imag
    cosines = _period(torch.cos, length, 2 / length, real)[_products(0, half, 0, half, length)]
    sines = _period(torch.sin, length, 2 / length, real)[_products(0, half, 1, half - 1, length)]
    # Each frequency stands for its mirror image too, but for the first and the last; those sines are zero.
    alone = (torch.arange(half + 1).remainder(half) == 0).to(real.dtype).unsqueeze(1)
    even, odd = real @ (cosines * (1 - alone / 2)), imag @ sines
    rising, falling = even[..., 1:half] - odd, even[..., 1:half] + odd
    return torch.cat([even[..., :1], rising, even[..., half:], falling.flip(-1)], dim=-1)


def _period(function: Callable[[Tensor], Tensor], length: int, scale: float, like: Tensor) -> Tensor:
    """One period of N values, computed in float64: so small that a graph holds the values themselves."""
    return (function(torch.arange(length).double() * (2 * math.pi / length)) * scale).to(like.dtype)


def _products(first_row: int, last_row: int, first_column: int, last_column: int, length: int) -> Tensor:
    """``r c mod N``, exact: where in the period an entry of the matrix is."""
    r = torch.arange(first_row, last_row + 1).unsqueeze(1)
    c = torch.arange(first_column, last_column + 1)
    return (r * c).remainder(length)


def _check(x: Tensor, whole: bool, length: int, dim: int, norm: str | None) -> None:
    if not whole or length % 2 or dim % x.ndim != x.ndim - 1 or norm not in (None, "backward"):
        raise CodecError(
            f"the network has a Fourier transform of {length} values over axis {dim}; only those of an "
            "even length over the whole last axis, with the usual norm, can be exported"
        )
