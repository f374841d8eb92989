"""Reading and writing sound files through libsndfile, in blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import torch
from torch import Tensor

from codec.atomic import reason
from codec.audio.resample import StreamResampler
from codec.errors import CodecError

_PCM_SUFFIXES = (".wav", ".flac", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64")
SOUND_SUFFIXES = (*_PCM_SUFFIXES, ".ogg", ".oga", ".opus", ".mp3")
"""Suffixes by which sound files are found in a folder; a file named outright may have any."""

_BLOCK = 1 << 18
"""Sample frames read or written at a time."""


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


def load_audio(source: str | Path | BinaryIO, sample_rate: int | None = None) -> Audio:
    """Read a sound file as mono, resampled to ``sample_rate`` when given.

    The file is read, mixed down and resampled block by block: memory holds the result (4 bytes a
    sample, twice while it is joined), whatever the file's rate and channels.

    Args:
        source: a path, or an open binary file that can seek.

    Raises:
        CodecError: when the file is missing, no sound file, empty, cut short, or not finite.
    """
    name = _check_source(source)
    with _open_sound(source, name) as file:
        target = sample_rate or file.samplerate
        wav = _read_mono(file, target, name)
        return Audio(wav, target, file.samplerate, file.channels)


def save_audio(path: str | Path | BinaryIO, wav: Tensor, sample_rate: int) -> None:
    """Write ``(T,)`` float samples, 16-bit where the format is PCM; the suffix names the format.

    Args:
        path: a path, or an open binary file, which gets wav.
    """
    is_path = isinstance(path, (str, Path))
    suffix = Path(path).suffix.lower() if is_path else ".wav"
    check_sound_suffix(path if is_path else "output.wav")
    subtype = "PCM_16" if suffix in _PCM_SUFFIXES else None
    container = None if is_path else "WAV"
    try:
        with soundfile.SoundFile(path, "w", sample_rate, 1, subtype, format=container) as file:
            for block in wav.split(_BLOCK):
                file.write(block.clamp(-1.0, 1.0).cpu().numpy())
    except soundfile.LibsndfileError as error:
        raise CodecError(f"{path}: cannot be written ({_words(error)})") from None


def check_sound_suffix(path: str | Path) -> None:
    """Raise a :class:`CodecError` unless the suffix names a format that can be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in SOUND_SUFFIXES:
        known = ", ".join(sorted(SOUND_SUFFIXES))
        raise CodecError(f"{path}: {suffix or 'no suffix'} is no sound format; use one of {known}")


def _check_source(source: str | Path | BinaryIO) -> str:
    """The name for messages of a source that is there and not empty."""
    if not isinstance(source, (str, Path)):
        if not source.read(1):
            raise CodecError("standard input: empty (0 bytes); expected a sound file")
        source.seek(0)
        return "standard input"
    path = Path(source)
    try:
        if path.is_dir():
            raise CodecError(f"{path}: is a folder; expected a sound file")
        with path.open("rb") as file:
            if path.is_file() and not file.read(1):
                raise CodecError(f"{path}: empty file (0 bytes); expected a sound file")
    except OSError as error:
        raise CodecError(f"{path}: cannot be read ({reason(error)})") from None
    return str(path)


def _open_sound(source: str | Path | BinaryIO, name: str) -> soundfile.SoundFile:
    try:
        return soundfile.SoundFile(source)
    except soundfile.LibsndfileError as error:
        raise CodecError(
            f"{name}: not a sound file that can be read ({_words(error)}); "
            "expected wav, flac, ogg, opus or mp3"
        ) from None
    except TypeError:
        # libsndfile takes a name in .raw for headerless samples of unknown rate.
        raise CodecError(f"{name}: raw samples have no header; convert the file to wav first") from None


def _read_mono(file: soundfile.SoundFile, sample_rate: int, name: str) -> Tensor:
    resampler = StreamResampler(file.samplerate, sample_rate)
    pieces, frames = [], 0
    for block in _blocks(file, name):
        frames += len(block)
        if not np.isfinite(block).all():
            raise CodecError(f"{name}: holds NaN or infinite samples; repair the recording first")
        pieces.append(resampler.feed(block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)))
    if frames == 0:
        raise CodecError(f"{name}: has no samples (0 s of sound); nothing to encode")
    if frames < file.frames:
        raise CodecError(
            f"{name}: cut short: {frames} of {file.frames} samples can be read; get the whole file"
        )
    pieces.append(resampler.finish())
    return torch.from_numpy(np.concatenate(pieces))


def _blocks(file: soundfile.SoundFile, name: str) -> Iterator[np.ndarray]:
    """Blocks ``(n, channels)`` float32 up to the end."""
    try:
        while len(block := file.read(_BLOCK, dtype="float32", always_2d=True)):
            yield block
    except soundfile.LibsndfileError as error:
        raise CodecError(
            f"{name}: cut short or damaged ({_words(error)}); get the whole file"
        ) from None


def _words(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().removeprefix("Error : ").rstrip(".").lower()
