"""Arrays as people have them, as tensors: samples, codes and counts."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.errors import CodecError

_FULL_SCALE = {torch.uint8: 128.0, torch.int8: 128.0, torch.int16: 32_768.0, torch.int32: 2_147_483_648.0}


def to_float(samples: Any, expected: str = "an array of them, such as audio.wav") -> Tensor:
    """Samples as float32 on the CPU, integers scaled by their range.

    Args:
        expected: what can be given, for messages.

    Raises:
        CodecError: for a type whose full scale nobody knows.
    """
    wav = _to_tensor(samples, "samples", expected)
    if wav.is_floating_point():
        return wav.float()
    if wav.dtype not in _FULL_SCALE:
        raise CodecError(
            f"samples of type {_name(wav)} have no known full scale; give int16, int32, or floats in [-1, 1]"
        )
    zero = 128.0 if wav.dtype == torch.uint8 else 0.0
    return wav.float().sub_(zero).div_(_FULL_SCALE[wav.dtype])


def to_codes(codes: Any, expected: str = "an array of them, such as tokens.codes") -> Tensor:
    """Codes of any integer type as int64 on the CPU.

    Args:
        expected: what can be given, for messages.

    Raises:
        CodecError: when they are no whole numbers.
    """
    tensor = _to_tensor(codes, "codes", expected)
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise CodecError(f"codes are whole numbers, got {_name(tensor)} {tuple(tensor.shape)}; convert them first")
    return tensor.long()


def to_counts(counts: Any, name: str) -> Tensor:
    """Counts such as lengths, or a mask, as a tensor on the CPU; ``name`` is for messages.

    Raises:
        CodecError: when they are no numbers.
    """
    return _to_tensor(counts, name, "whole numbers, one per clip")


def _to_tensor(values: Any, what: str, expected: str) -> Tensor:
    """Numbers of any kind on the CPU, without a copy where that can be; never to be written to."""
    known = isinstance(values, Tensor | list | tuple | int | float | complex)
    if not known and not hasattr(values, "__array__"):
        raise CodecError(f"cannot be read as {what} ({type(values).__name__}); give {expected}")
    if isinstance(values, Tensor) and values.layout is not torch.strided:
        raise CodecError(f"{what} are a tensor of the layout {values.layout}; give a dense one")
    try:
        if not known or (isinstance(values, list | tuple) and any(isinstance(x, np.ndarray) for x in values)):
            array = np.asarray(values)
            # Reversed arrays and foreign byte orders have no counterpart in PyTorch, which also warns of those
            # that may not be written to.
            array = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(array.shape)
            values = array if array.flags.writeable else array.copy()
        return torch.as_tensor(values, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CodecError(f"cannot be read as {what} ({type(values).__name__}: {reason}); give {expected}") from None


def _name(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
