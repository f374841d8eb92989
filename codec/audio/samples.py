"""Samples as callers have them, as mono float samples in [-1, 1]."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.errors import CodecError

FAR_BEYOND = 16.0
"""A peak that no float recording in [-1, 1] has, and samples in the range of integers do."""


def whole_rate(rate: Any) -> int:
    """A sample rate of any numeric type, in Hz.

    Raises:
        CodecError: for what is no whole number above 0.
    """
    try:
        whole = int(rate)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        whole = 0
    if isinstance(rate, bool | str | bytes) or whole < 1 or whole != rate:
        raise CodecError(f"sample_rate {rate!r}; give whole Hz, such as 16000")
    return whole


def mono_blocks(wav: Tensor | np.ndarray | list[float], block: int) -> Iterator[np.ndarray]:
    """``(n,)`` float32 in [-1, 1] of ``(T,)`` or ``(1, T)`` samples, ``block`` at a time.

    Everything is checked at once, before the first block. Integers are scaled by the range of their
    type; floats beyond 1 are clipped.

    Raises:
        CodecError: for another shape or type, NaN, infinity, or floats far beyond 1.
    """
    samples = _as_array(wav)
    scale = _scale_of(samples)
    if samples.ndim == 2 and samples.shape[0] == 1:
        samples = samples[0]
    if samples.ndim != 1:
        raise CodecError(
            f"samples must be mono, (T,) or (1, T); got shape {samples.shape}, mix them down first"
        )
    if samples.dtype.kind == "f":
        _check_floats(samples, block)
    return (_scaled(samples[start : start + block], scale) for start in range(0, len(samples), block))


def _as_array(wav: Any) -> np.ndarray:
    if isinstance(wav, Tensor):
        wav = wav.detach().cpu()
        return (wav.float() if wav.dtype == torch.bfloat16 else wav).numpy()
    if wav is None or isinstance(wav, str | bytes):
        raise CodecError(f"expected samples (T,), got {type(wav).__name__}")
    try:
        return np.asarray(wav)
    except ValueError:
        raise CodecError("samples must be one row of numbers, not rows of different lengths") from None


def _scale_of(samples: np.ndarray) -> tuple[float, float]:
    """Zero and full scale."""
    if samples.dtype.kind == "f":
        return 0.0, 1.0
    if samples.dtype.kind not in "iu" or samples.dtype.itemsize > 4:
        raise CodecError(
            f"samples of type {samples.dtype} have no known range; give floats in [-1, 1] or int16"
        )
    half = float(1 << 8 * samples.dtype.itemsize - 1)
    return (half if samples.dtype.kind == "u" else 0.0), half


def _check_floats(samples: np.ndarray, block: int) -> None:
    if samples.size == 0:
        raise CodecError("no samples; nothing was written")
    peak = 0.0
    for start in range(0, len(samples), block):
        piece = np.abs(samples[start : start + block]).max()
        if not np.isfinite(piece):
            raise CodecError("samples hold NaN or infinite values; nothing was written")
        peak = max(peak, float(piece))
    if peak > FAR_BEYOND:
        raise CodecError(
            f"float samples reach {peak:g}, but full scale is 1; divide them by their range "
            "(32768 for 16-bit samples)"
        )


def _scaled(samples: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
    zero, full = scale
    if samples.dtype.kind != "f":
        samples = (samples.astype(np.float64) - zero) / full
    return samples.astype(np.float32).clip(-1.0, 1.0)
