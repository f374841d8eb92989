"""Audio in all the forms that callers have, checked and converted to what the network takes."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codec.audio.io import Audio, load_audio
from codec.audio.resample import resample
from codec.audio.samples import whole_rate
from codec.errors import CodecError
from codec.model.arrays import to_counts, to_float
from codec.reading import Source, is_source

AudioInput = Tensor | np.ndarray | Audio | Source | tuple[Any, float] | Sequence[Any]
"""Samples, samples with their rate, a recording, a file or its bytes, or a list of such clips."""

LOUDEST = 10.0
"""Peak of float samples above which they can only be integers in disguise."""

_PIECE = 1 << 20
_EXPECTED = "an array (T,) or (B, T), (samples, rate), a recording, a path, a file's bytes, or a list of such clips"


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
    rate = target_rate if sample_rate is None else whole_rate(sample_rate)
    if _has_rate(audio):
        audio, rate = _apart(audio, sample_rate)
    if isinstance(audio, list | tuple) and not _is_number(audio[0] if audio else 0):
        if lengths is not None:
            raise CodecError("a list of clips has their lengths; leave lengths out")
        return _joined([_one_clip(clip, rate, target_rate) for clip in audio])
    if isinstance(audio, Audio) or is_source(audio):
        if lengths is not None:
            raise CodecError("a recording has its own length; leave lengths out, or give its samples")
        return _joined([_one_clip(audio, rate, target_rate)])
    wav = to_float(audio, _EXPECTED)
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
    if is_source(audio):
        audio = load_audio(audio, target_rate)
    if isinstance(audio, Audio):
        audio, rate = audio.wav, audio.sample_rate
        # Decoders of lossy formats pass 1 by a little as a matter of course.
        note = False
    elif _has_rate(audio):
        audio, rate = _apart(audio, None)
    wav = to_float(audio, _EXPECTED)
    wav = wav[0] if wav.ndim == 2 and len(wav) == 1 else wav
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


def _has_rate(audio: Any) -> bool:
    """Whether it is ``(samples, rate)``, as many libraries read a file, or ``(rate, samples)``, as SciPy does."""
    return isinstance(audio, tuple) and len(audio) == 2 and _is_number(audio[0]) != _is_number(audio[1])


def _apart(audio: Any, sample_rate: Any) -> tuple[Any, int]:
    samples, rate = audio if _is_number(audio[1]) else reversed(audio)
    rate = whole_rate(rate)
    if sample_rate is not None and sample_rate != rate:
        raise CodecError(f"the samples come with {rate} Hz, but sample_rate is {sample_rate}; give one of them")
    if isinstance(samples, Audio) or is_source(samples):
        raise CodecError(f"{type(samples).__name__} has its own rate; leave the other out")
    return samples, rate


def _counts(lengths: Any, wav: Tensor) -> list[int]:
    """Samples of each clip."""
    batch, longest = wav.shape
    if lengths is None:
        return [longest] * batch
    values = to_counts(lengths, "lengths")
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
