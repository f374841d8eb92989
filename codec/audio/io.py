"""Reading and writing audio files through libsndfile, in blocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import soundfile
import torch
from torch import Tensor

from codec.atomic import atomic_file, named_errors
from codec.audio.kinds import MPEG_BYTES
from codec.audio.parts import describe, find_parts, not_sound
from codec.audio.pcm import to_int16
from codec.audio.resample import StreamResampler
from codec.audio.samples import FAR_BEYOND, mono_blocks, whole_rate
from codec.audio.views import Part, Sink, SoundStream, Window, open_piped, open_window, read_at
from codec.errors import CodecError
from codec.reading import Source, open_seekable, path_of

_PCM_FORMATS = {
    ".wav": {"format": "WAV"},
    ".flac": {"format": "FLAC"},
    ".aif": {"format": "AIFF"},
    ".aiff": {"format": "AIFF"},
    ".aifc": {"format": "AIFF", "endian": "LITTLE"},  # which only AIFF-C can hold
    ".au": {"format": "AU"},
    ".snd": {"format": "AU"},
    ".caf": {"format": "CAF"},
    ".w64": {"format": "W64"},
    ".rf64": {"format": "RF64"},
}
_LOSSY_FORMATS = {
    ".ogg": {"format": "OGG", "subtype": "VORBIS"},
    ".oga": {"format": "OGG", "subtype": "VORBIS"},
    ".opus": {"format": "OGG", "subtype": "OPUS"},
    ".mp3": {"format": "MP3"},
}
_FORMATS = {
    suffix: {**format, "subtype": "PCM_16"} for suffix, format in _PCM_FORMATS.items()
} | _LOSSY_FORMATS
WRITTEN_SUFFIXES = tuple(_FORMATS)
"""Suffixes of files that can be written."""
AUDIO_SUFFIXES = (*WRITTEN_SUFFIXES, ".wave", ".bwf", ".sph", ".mp2")
"""Suffixes by which audio files are found in a folder; a file named outright may have any."""

_BLOCK = 1 << 18
"""Sample frames read or written at a time."""
_CANCELLED = 0.01
"""Energy of the mix, relative to the channels' mean, below which they cancel each other: -20 dB."""


@dataclass(frozen=True)
class Audio:
    """A mono recording and what its file held.

    Attributes:
        wav: ``(T,)`` float32 at ``sample_rate``.
        sample_rate: Hz of ``wav``.
        source_rate: Hz of the file.
        source_channels: channels of the file, mixed down by their mean.
        notes: what a listener should know of the file, such as that its end is missing.
    """

    wav: Tensor
    sample_rate: int
    source_rate: int
    source_channels: int
    notes: tuple[str, ...] = ()


def load_audio(source: Source, sample_rate: float | None = None) -> Audio:
    """Read an audio file as mono, resampled to ``sample_rate`` when given.

    The file is read up to its end, whatever length its header claims, and with all recordings that it
    holds one after the other. It is read, mixed down and resampled block by block: memory holds the
    result (4 bytes a sample, twice while it is joined), whatever the file's rate and channels.

    Args:
        source: a path, also of a pipe, a file's bytes, or an open binary file.
        sample_rate: Hz to resample to; by default the rate of the file, which is in the result.

    Raises:
        CodecError: when the file is missing, not audio, empty, damaged, or not finite, or for a rate that is
            no whole number of Hz.
    """
    sample_rate = None if sample_rate is None else whole_rate(sample_rate)
    with open_seekable(source, "an audio file") as (file, name):
        mixer, parts = _Mixer(name, sample_rate), find_parts(file)
        for part in parts:
            mixer.read(file, part)
        return mixer.finish(len(parts))


def duration_of(source: Source, verify: bool = False) -> float:
    """How long an audio file is: by its header where that can be relied on, else by reading it.

    Args:
        verify: read it in any case, so that damage is found.

    Raises:
        CodecError: as :func:`load_audio`.
    """
    with open_seekable(source, "an audio file") as (file, name):
        parts = find_parts(file)
        part = parts[0]
        if not verify and len(parts) == 1 and part.says_length and not part.is_mpeg:
            with _open_part(file, part, name) as stream:
                frames, rate = part.samples or stream.frames, stream.samplerate
            if frames > 0:
                return frames / rate
        mixer = _Mixer(name, None, kept=False)
        for part in parts:
            mixer.read(file, part)
        return mixer.seconds()


def save_audio(
    path: str | Path | BinaryIO, wav: Tensor | np.ndarray | Audio, sample_rate: float | None = None
) -> None:
    """Write mono samples, 16-bit where the format is PCM; the suffix names the format.

    A file at ``path`` is replaced as a whole, or left as it was when something goes wrong.

    Args:
        path: a path, or an open binary file, which gets wav.
        wav: ``(T,)`` or ``(1, T)``, a tensor or an array: floats in [-1, 1], beyond which they are
            clipped, or integers, which are scaled by the range of their type; or a recording.
        sample_rate: Hz; a recording has its own.

    Raises:
        CodecError: for another shape or suffix, samples that are not finite or far beyond 1, a rate that is
            no whole number of Hz, or a path that cannot be written.
    """
    wav, rate = _with_rate(wav, sample_rate)
    if hasattr(path, "write"):
        write_sound(cast(BinaryIO, path), wav, rate)
        return
    path = path_of(path, "an audio file")
    check_audio_suffix(path)
    blocks = mono_blocks(wav, _BLOCK)
    with atomic_file(path) as file:
        _write(file, blocks, rate, Path(path).suffix.lower(), path)


def _with_rate(
    wav: Tensor | np.ndarray | Audio, sample_rate: float | None
) -> tuple[Tensor | np.ndarray, int]:
    """Samples and their rate."""
    if isinstance(wav, Audio):
        if sample_rate not in (None, wav.sample_rate):
            raise CodecError(
                f"the recording has {wav.sample_rate} Hz, not {sample_rate}; leave sample_rate out, or load it at "
                "that rate: load_audio(path, sample_rate)"
            )
        return wav.wav, wav.sample_rate
    if sample_rate is None:
        raise CodecError("samples do not say their rate; give sample_rate, such as model.sample_rate")
    return wav, whole_rate(sample_rate)


def write_sound(
    file: BinaryIO, wav: Tensor | np.ndarray, sample_rate: int, suffix: str = ".wav", name: str = "the audio"
) -> None:
    """The same into an open binary file, in the format of ``suffix``; ``name`` is for messages."""
    _write(file, mono_blocks(wav, _BLOCK), sample_rate, suffix, name)


def check_audio_suffix(path: str | Path) -> None:
    """Raise a :class:`CodecError` unless the suffix names a format that can be written."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        known = ", ".join(sorted(WRITTEN_SUFFIXES))
        found = f"{suffix} cannot be written as audio" if suffix else "an audio file needs a suffix"
        raise CodecError(f"{path}: {found}; use one of {known}")


class _Mixer:
    """Mixes down, resamples and collects the recordings of one file."""

    def __init__(self, name: str, sample_rate: int | None, kept: bool = True):
        """
        Args:
            sample_rate: Hz to resample to; by default that of the first recording.
            kept: collect samples; otherwise they are checked and counted, in constant memory.
        """
        self._name = name
        self._rate = sample_rate
        self._kept = kept
        self._samples = 0
        self._source: tuple[int, int] | None = None
        self._resampler: StreamResampler | None = None
        self._resampled_rate = 0
        self._pieces: list[np.ndarray] = []
        self._notes: list[str] = []
        self._frames = 0
        self._mixed_energy = self._channel_energy = self._peak = 0.0

    def read(self, file: BinaryIO, part: Part) -> None:
        """One recording to its end."""
        before = self._frames
        try:
            with _open_part(file, part, self._name) as stream:
                self._start(stream.samplerate, stream.channels)
                while len(block := stream.read(_BLOCK, dtype="float32", always_2d=True)):
                    self._add(block)
        except soundfile.LibsndfileError as error:
            words = _words(error)
            raise CodecError(f"{self._name}: cut short or damaged ({words}); get the whole file") from None
        self._notes += describe(part, self._frames - before)

    def seconds(self) -> float:
        """How long all recordings are, of which no more may follow."""
        if self._frames == 0:
            raise CodecError(f"{self._name}: has no samples (0 s of audio); nothing to encode")
        assert self._resampler is not None and self._rate is not None
        self._take(self._resampler.finish())
        return self._samples / self._rate

    def finish(self, num_parts: int) -> Audio:
        """All of it."""
        self.seconds()
        assert self._source is not None and self._rate is not None
        if num_parts > 1:
            self._notes.append(f"holds {num_parts} recordings one after the other; all were read")
        rate, channels = self._source
        if channels > 1 and self._mixed_energy < _CANCELLED * self._channel_energy:
            self._notes.append(
                f"its {channels} channels cancel each other in the mix; if one is inverted, take one alone: "
                "ffmpeg -i IN -af 'pan=mono|c0=c0' OUT.wav"
            )
        if self._peak > 1.0:
            self._notes.append(f"peaks at {self._peak:.2f} of full scale")
        wav = torch.from_numpy(np.concatenate(self._pieces))
        return Audio(wav, self._rate, rate, channels, tuple(self._notes))

    def _start(self, rate: int, channels: int) -> None:
        self._source = self._source or (rate, channels)
        self._rate = self._rate or rate
        if rate != self._resampled_rate:
            if self._resampler is not None:
                self._take(self._resampler.finish())
            try:
                self._resampler, self._resampled_rate = StreamResampler(rate, self._rate), rate
            except CodecError as error:
                raise CodecError(f"{self._name}: {error}") from None

    def _add(self, block: np.ndarray) -> None:
        """``(n, channels)`` float32."""
        peak = float(np.abs(block).max())
        if not np.isfinite(peak):
            raise CodecError(f"{self._name}: holds NaN or infinite samples; repair the recording first")
        if peak > FAR_BEYOND:
            raise CodecError(
                f"{self._name}: its float samples reach {peak:g}, but full scale is 1; divide them by "
                "their range first (32768 for 16-bit samples)"
            )
        self._peak = max(self._peak, peak)
        self._frames += len(block)
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if block.shape[1] > 1:
            self._mixed_energy += float(np.square(mono, dtype=np.float64).sum())
            self._channel_energy += float(np.square(block, dtype=np.float64).mean(axis=1).sum())
        assert self._resampler is not None
        self._take(self._resampler.feed(mono))

    def _take(self, piece: np.ndarray) -> None:
        """``(n,)`` at the rate of the result."""
        self._samples += len(piece)
        if self._kept:
            self._pieces.append(piece)


@contextmanager
def _open_part(file: BinaryIO, part: Part, name: str) -> Iterator[SoundStream]:
    window = Window(file, part)
    opened = open_piped(window) if part.is_mpeg else open_window(window)
    try:
        stream = opened.__enter__()
    except soundfile.LibsndfileError as error:
        raise not_sound(read_at(file, 0, MPEG_BYTES), name, _words(error)) from None
    with stream:
        yield stream


def _write(file: BinaryIO, blocks: Iterator[np.ndarray], sample_rate: int, suffix: str, name: str) -> None:
    sink = Sink(file)
    try:
        with soundfile.SoundFile(sink, "w", sample_rate, 1, **_FORMATS[suffix]) as stream:
            for block in blocks:
                # Not by libsndfile, whose full scale is 32767: 16-bit samples would not come back.
                stream.write(to_int16(block) if stream.subtype == "PCM_16" else block)
    except (soundfile.LibsndfileError, AssertionError) as error:
        if sink.error is None:
            words = _words(error) if isinstance(error, soundfile.LibsndfileError) else "incomplete"
            raise CodecError(
                f"{name}: cannot be written ({words} for {suffix} at {sample_rate} Hz)"
            ) from None
    if sink.error is not None:
        with named_errors(name):
            raise sink.error


def _words(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().removeprefix("Error : ").rstrip(".").lower()
