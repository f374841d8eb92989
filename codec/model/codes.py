"""Codes in the forms that callers have, such as a language model's output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.errors import CodecError

Codes = Tensor | np.ndarray | Sequence[Any]
"""Whole numbers ``(K, T)`` or ``(B, K, T)``, or a list of clips ``(K, T)``."""


def to_codes(codes: Any) -> Tensor:
    """Codes of any integer type as int64 on the CPU.

    Raises:
        CodecError: when they are not whole numbers.
    """
    try:
        if isinstance(codes, np.ndarray):
            codes = np.ascontiguousarray(codes, codes.dtype.newbyteorder("="))
        tensor = torch.as_tensor(codes, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CodecError(f"cannot be read as codes ({type(codes).__name__}: {reason})") from None
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        name = str(tensor.dtype).removeprefix("torch.")
        raise CodecError(f"codes are whole numbers, got {name} {tuple(tensor.shape)}; convert them first")
    return tensor.long()


def read_codes(codes: Codes) -> list[Tensor]:
    """The clips ``(K, T)`` of codes, at least one frame each.

    Raises:
        CodecError: on another shape or type, or when the clips differ in K.
    """
    several = isinstance(codes, list | tuple) and any(hasattr(clip, "ndim") for clip in codes)
    clips = [to_codes(clip) for clip in codes] if several else [to_codes(codes)]
    if not several and clips[0].ndim == 3:
        clips = list(clips[0])
    if not clips or any(clip.ndim != 2 or not clip.numel() for clip in clips):
        shape = [tuple(clip.shape) for clip in clips]
        raise CodecError(
            f"expected codes (K, T) or (B, K, T), got shape {shape[0] if len(shape) == 1 else shape}"
        )
    if len({len(clip) for clip in clips}) > 1:
        raise CodecError(
            f"clips of {sorted({len(clip) for clip in clips})} codebooks; give the same layers of all"
        )
    return clips
