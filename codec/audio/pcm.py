"""Raw mono PCM, little-endian, as it comes out of ``arecord`` and goes into ``aplay``."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from codec.audio.kinds import TOKEN_KINDS, StartWatch, a_file
from codec.console import counted
from codec.errors import CodecError

_TYPES: dict[str, np.dtype[Any]] = {"s16": np.dtype("<i2"), "f32": np.dtype("<f4")}
_BLOCK = 1 << 16
"""Bytes asked for at a time; what is there already is taken without waiting for more."""


def check_pcm_format(name: str) -> None:
    """Raise a :class:`CodecError` unless ``name`` is s16 or f32."""
    if name not in _TYPES:
        raise CodecError(f"unknown sample format {name!r}; choose {' or '.join(_TYPES)}")


class Arriving(Protocol):
    """An open binary file that hands out what has come by now, as buffered ones do."""

    def read1(self, size: int = -1, /) -> bytes: ...


class PcmReader:
    """Samples from a pipe, as soon as they come.

    Attributes:
        leftover: after the end, bytes that were not a whole sample.
        num_samples: samples read so far.
    """

    def __init__(self, file: Arriving, format: str):
        self._file = file
        self._type = _TYPES[format]
        self._format = format
        self._start: bytes | None = None
        self.leftover = 0
        self.num_samples = 0

    def begin(self) -> None:
        """Wait for the first bytes: enough of them to distinguish samples from a file.

        Raises:
            CodecError: when they begin an audio file or tokens, which as samples would be noise.
        """
        start, watch = b"", StartWatch()
        while not watch.done and (data := self._file.read1(_BLOCK)):
            start += data
            if kind := watch.feed(data):
                raise CodecError(f"the input is not raw samples but {a_file(kind)}; {_advice(kind)}")
        self._start = start

    def __iter__(self) -> Iterator[np.ndarray]:
        """Blocks ``(n,)`` of float32."""
        if self._start is None:
            self.begin()
        data, rest = self._start or b"", b""
        while data or (data := self._file.read1(_BLOCK)):
            data = rest + data
            whole = len(data) - len(data) % self._type.itemsize
            data, rest = data[:whole], data[whole:]
            if data:
                block = _to_float(np.frombuffer(data, self._type))
                self.num_samples += len(block)
                yield block
            data = b""
        self.leftover = len(rest)

    def check_end(self) -> None:
        """Raise a :class:`CodecError` when there were no samples, or an incomplete sample at the end."""
        if self.leftover:
            raise CodecError(
                f"the input ended {counted(self.leftover, 'byte')} into a sample of {self._type.itemsize}; "
                f"is it really mono {self._format}?"
            )
        if not self.num_samples:
            raise CodecError("no samples came; nothing was encoded")


def to_pcm(wav: np.ndarray, format: str) -> bytes:
    """The bytes of ``(n,)`` float samples; s16 is rounded and clipped."""
    samples = to_int16(wav) if format == "s16" else wav
    return samples.astype(_TYPES[format]).tobytes()


def to_int16(wav: np.ndarray) -> np.ndarray:
    """``(n,)`` float samples as int16, rounded and clipped; the inverse of dividing by 32768."""
    return np.clip(np.rint(wav * 32_768.0), -32_768, 32_767).astype(np.int16)


def _advice(kind: str) -> str:
    if kind in TOKEN_KINDS:
        return "decode it with codec stream decode or codec decode"
    return "use codec encode IN OUT, or pipe it through ffmpeg -i IN -f s16le -ac 1 -ar RATE -"


def _to_float(samples: np.ndarray) -> np.ndarray:
    return samples.astype(np.float32) / 32_768.0 if samples.dtype.kind == "i" else samples.astype(np.float32)
