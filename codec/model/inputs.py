"""Audio in all the forms that callers have, checked and converted to what the network takes."""

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.audio.io import Audio, load_audio
from codec.audio.resample import resample
from codec.errors import CodecError

AudioInput = Tensor | np.ndarray | Audio | str | Path | bytes | Sequence[Any]
"""Samples, a recording, a file or its bytes, or a list of such clips."""

LOUDEST = 10.0
"""Peak of float samples above which they can only be integers in disguise."""

_FULL_SCALE = {torch.uint8: 128.0, torch.int8: 128.0, torch.int16: 32_768.0, torch.int32: 2_147_483_648.0}
_PIECE = 1 << 20


@dataclass
class Clips:
    """Checked audio: ``wav (B, T)`` float32, zeros after each clip's ``counts`` samples."""

    wav: Tensor
    counts: list[int]


def read_inputs(audio: AudioInput, sample_rate: Any, lengths: Any, target_rate: int) -> Clips:
    """Check and resample audio to ``target_rate``.

    Args:
        audio: ``(T,)`` or ``(B, T)`` samples, or whatever else :data:`AudioInput` has.
        sample_rate: Hz of samples; ``target_rate`` when ``None``. A recording or file has its own.
        lengths: ``(B,)`` samples of each clip, or a mask ``(B, T)``; all by default.

    Raises:
        CodecError: for a shape, type, scale, rate or length that cannot be meant, and for NaN.
    """
    rate = _rate(sample_rate, target_rate)
    if isinstance(audio, list | tuple) and not _is_number(audio[0] if audio else 0):
        if lengths is not None:
            raise CodecError("a list of clips has their lengths; leave lengths out")
        return _joined([_one_clip(clip, rate, target_rate) for clip in audio])
    if isinstance(audio, Audio | str | Path | bytes):
        return _joined([_one_clip(audio, rate, target_rate)])
    wav = to_float(audio)
    _check_shape(wav)
    wav = wav.reshape(-1, wav.shape[-1])
    check_level(wav)
    counts = _counts(lengths, wav)
    if rate != target_rate:
        return _joined([resample(clip[:n], rate, target_rate) for clip, n in zip(wav, counts, strict=True)])
    if min(counts) < wav.shape[1]:
        inside = torch.arange(wav.shape[1]) < torch.tensor(counts).unsqueeze(1)
        wav = wav.masked_fill(~inside, 0.0)
    return Clips(wav, counts)


def to_float(samples: Any) -> Tensor:
    """Samples as float32 on the CPU, integers scaled by their range.

    Raises:
        CodecError: for a type whose full scale is unknown.
    """
    try:
        if isinstance(samples, np.ndarray):
            # Reversed arrays and foreign byte orders have no counterpart in PyTorch.
            samples = np.ascontiguousarray(samples, samples.dtype.newbyteorder("="))
        wav = torch.as_tensor(samples, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:120]
        raise CodecError(f"cannot be read as samples ({type(samples).__name__}: {reason})") from None
    if wav.is_floating_point():
        return wav.float()
    if wav.dtype not in _FULL_SCALE:
        raise CodecError(
            f"samples of type {str(wav.dtype).removeprefix('torch.')} have no known full scale; "
            "give int16, int32, or floats in [-1, 1]"
        )
    zero = 128.0 if wav.dtype == torch.uint8 else 0.0
    return wav.float().sub_(zero).div_(_FULL_SCALE[wav.dtype])


def check_level(wav: Tensor, note: bool = True) -> bool:
    """Refuse float32 ``(B, T)`` whose scale cannot be right; return whether any lies beyond 1, for a note.

    Raises:
        CodecError: for NaN, infinite or far too large samples.
    """
    peak = 0.0
    # Piece by piece: copies of a whole hour at once would need memory for more of them.
    for piece in wav.split(_PIECE, dim=-1):
        if piece.numel():
            low, high = (float(limit) for limit in piece.aminmax())
            # NaN compares false; it must not be lost in max().
            if not math.isfinite(low) or not math.isfinite(high):
                raise CodecError("the audio holds NaN or infinite samples; repair the recording first")
            peak = max(peak, -low, high)
    if peak > LOUDEST:
        raise CodecError(
            f"the samples reach {peak:.6g}; floats must lie in [-1, 1]: divide by full scale (32768 for 16 bits)"
        )
    if note and peak > 1.0:
        warnings.warn(f"the samples reach {peak:.3g}, beyond 1; is the scale right?", stacklevel=5)
    return peak > 1.0


def _one_clip(audio: Any, rate: int, target_rate: int) -> Tensor:
    """``(T,)`` at the target rate."""
    note = True
    if isinstance(audio, str | Path):
        audio = load_audio(audio, target_rate)
    elif isinstance(audio, bytes):
        audio = load_audio(io.BytesIO(audio), target_rate)
    if isinstance(audio, Audio):
        audio, rate = audio.wav, audio.sample_rate
        # Decoders of lossy formats pass 1 by a little as a matter of course.
        note = False
    wav = to_float(audio)
    if wav.ndim != 1:
        raise CodecError(f"each clip of a list must be (T,), got shape {tuple(wav.shape)}")
    _check_shape(wav)
    check_level(wav, note)
    return wav if rate == target_rate else resample(wav, rate, target_rate)


def _joined(clips: list[Tensor]) -> Clips:
    counts = [len(clip) for clip in clips]
    one = len(clips) == 1
    wav = clips[0].unsqueeze(0) if one else torch.nn.utils.rnn.pad_sequence(clips, batch_first=True)
    return Clips(wav, counts)


def _check_shape(wav: Tensor) -> None:
    shape = tuple(wav.shape)
    if wav.ndim not in (1, 2):
        raise CodecError(f"expected mono audio (T,) or (B, T), got shape {shape}")
    if wav.numel() == 0:
        raise CodecError("the audio has no samples; nothing to encode")
    if wav.ndim == 2 and shape[1] <= 32 and shape[0] > 16 * shape[1]:
        raise CodecError(
            f"shape {shape} would be {shape[0]} clips of {shape[1]} samples; if axis 1 holds channels, mix them "
            "first: wav.mean(axis=1)"
        )


def _rate(value: Any, default: int) -> int:
    if value is None:
        return default
    try:
        rate = int(value)
    except (TypeError, ValueError, OverflowError):
        rate = 0
    if isinstance(value, bool) or rate < 1 or rate != value:
        raise CodecError(f"sample_rate {value!r}; give whole Hz, such as 16000")
    return rate


def _counts(lengths: Any, wav: Tensor) -> list[int]:
    """Samples of each clip."""
    batch, longest = wav.shape
    if lengths is None:
        return [longest] * batch
    values = torch.as_tensor(lengths)
    if values.shape == wav.shape and values.ndim == 2 and (longest > 1 or values.dtype == torch.bool):
        return _counts_of_mask(values)
    if values.dtype == torch.bool or (values.is_floating_point() and (values != values.round()).any()):
        raise CodecError(f"lengths must be whole numbers, one per clip, or a mask {tuple(wav.shape)}")
    counts = [int(value) for value in values.reshape(-1)]
    if len(counts) != batch or not all(1 <= count <= longest for count in counts):
        raise CodecError(
            f"lengths {counts} do not fit audio of shape {tuple(wav.shape)}: one per clip, 1 to {longest}"
        )
    return counts


def _counts_of_mask(mask: Tensor) -> list[int]:
    inside = mask.bool()
    counts = inside.sum(dim=1)
    prefix = torch.arange(mask.shape[1]) < counts.unsqueeze(1)
    if (
        not torch.equal(inside, prefix)
        or int(counts.min()) < 1
        or not torch.equal(mask.long(), inside.long())
    ):
        raise CodecError("the mask in lengths must mark the first samples of every clip, at least one")
    return counts.tolist()


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) or (hasattr(value, "ndim") and value.ndim == 0)
