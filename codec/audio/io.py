"""Reading and writing sound files through libsndfile."""

from dataclasses import dataclass
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from codec.audio.resample import resample
from codec.errors import CodecError


@dataclass(frozen=True)
class Audio:
    """A mono recording and what its file held.

    Attributes:
        wav: ``(T,)`` float32 at ``sample_rate``.
        sample_rate: Hz of ``wav``.
        source_rate: Hz of the file.
        source_channels: channels of the file, mixed down by their mean.
    """

    wav: Tensor
    sample_rate: int
    source_rate: int
    source_channels: int


def load_audio(path: str | Path, sample_rate: int | None = None) -> Audio:
    """Read a file as mono, resampled to ``sample_rate`` when given."""
    try:
        data, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise CodecError(f"{path}: not a readable sound file ({error})") from None
    wav = torch.from_numpy(data).mean(dim=1)
    target = sample_rate or rate
    return Audio(resample(wav, rate, target), target, rate, data.shape[1])


def save_audio(path: str | Path, wav: Tensor, sample_rate: int) -> None:
    """Write ``(T,)`` float samples as a 16-bit file of the format that the suffix names."""
    soundfile.write(path, wav.clamp(-1.0, 1.0).cpu().numpy(), sample_rate, subtype="PCM_16")
