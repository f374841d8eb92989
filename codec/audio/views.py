"""File objects for libsndfile: windows with changed bytes, pipes, and files on a disk that may be full."""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import soundfile

_BLOCK = 1 << 16
_SEARCH_BLOCK = 1 << 22


@dataclass(frozen=True)
class Part:
    """One recording in a file.

    Attributes:
        start: its first byte.
        end: the byte after its last.
        patches: bytes that a reader should see instead of the file's, with their places in the file.
        is_mpeg: whether it is bare MPEG audio, of which libsndfile guesses the length.
        samples: what the header promises, of each channel; ``None`` when it promises nothing.
        promised: bytes of audio that the header promises, where it counts bytes.
        held: bytes of audio that are there.
        says_length: whether the file says how long it is. Pipes say that they do not know, which
            counts as well.
        problem: what else is wrong with it.
    """

    start: int
    end: int
    patches: tuple[tuple[int, bytes], ...] = ()
    is_mpeg: bool = False
    samples: int | None = None
    promised: int = 0
    held: int = 0
    says_length: bool = True
    problem: str | None = None


class SoundStream(soundfile.SoundFile):
    """An audio file that is read from its beginning to its end and never sought in.

    So it is no matter what length the header claims: where that is unknown, seeking fails.
    """

    def seekable(self) -> bool:
        return False


class Window:
    """A part of a binary file, read-only, with some bytes replaced.

    libsndfile calls it from C, where exceptions, Ctrl-C included, would be lost: they are kept for
    :meth:`check`, and the file seems to end.

    Args:
        file: an open file that can seek.
        part: of it, with what to change.
    """

    def __init__(self, file: BinaryIO, part: Part):
        self._file = file
        self._start, self._size = part.start, part.end - part.start
        self._patches = [(place - part.start, content) for place, content in part.patches]
        self._place = 0
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise what a call from C had to hold back."""
        if self._error is not None:
            raise self._error

    def tell(self) -> int:
        return self._place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        self._place = max(0, base + offset)
        return self._place

    def read(self, count: int) -> bytes:
        try:
            return self._read(count)
        except BaseException as error:  # noqa: BLE001 (raised again by check)
            self._error = error
            return b""

    def _read(self, count: int) -> bytes:
        place = self._place
        self._file.seek(self._start + place)
        data = self._file.read(max(0, min(count, self._size - place)))
        for start, content in self._patches:
            if start < place + len(data) and place < start + len(content):
                data = _overlay(data, start - place, content)
        self._place += len(data)
        return data


class Sink:
    """A file that libsndfile writes into from C, where exceptions would be lost: they are kept.

    Reading continues as if there were no error; the file is discarded afterwards.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self.error: BaseException | None = None

    def tell(self) -> int:
        return self._try(self._file.tell, 0)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._try(lambda: self._file.seek(offset, whence), 0)

    def read(self, count: int) -> bytes:
        return self._try(lambda: self._file.read(count), b"")

    def write(self, data: bytes) -> int:
        return self._try(lambda: self._file.write(data), len(data))

    def _try(self, call: Callable[[], Any], otherwise: Any) -> Any:
        try:
            return call() if self.error is None else otherwise
        except BaseException as error:  # noqa: BLE001 (raised again when the file is done)
            self.error = error
            return otherwise


def _overlay(data: bytes, offset: int, content: bytes) -> bytes:
    changed = bytearray(data)
    low, high = max(0, offset), min(len(data), offset + len(content))
    changed[low:high] = content[low - offset : high - offset]
    return bytes(changed)


@contextmanager
def open_window(window: Window) -> Iterator[SoundStream]:
    """The window as an audio file."""
    try:
        with SoundStream(window) as file:
            yield file
    except soundfile.LibsndfileError:
        window.check()  # a failure of reading is the cause
        raise
    window.check()


@contextmanager
def open_piped(window: Window) -> Iterator[SoundStream]:
    """The same through a pipe: of MPEG audio libsndfile then does not guess the length."""
    output, into = os.pipe()
    _PIPES.update((output, into))
    feeder = threading.Thread(target=_feed, args=(window, into), daemon=True)
    feeder.start()
    try:
        with SoundStream(output, closefd=False) as file:
            yield file
    finally:
        _PIPES.discard(output)
        os.close(output)  # ends a feeder that still writes
        feeder.join()
    window.check()


def _feed(window: Window, into: int) -> None:
    try:
        with open(into, "wb", closefd=False) as pipe:
            while data := window.read(_BLOCK):
                pipe.write(data)
    except BrokenPipeError:
        pass
    finally:
        _PIPES.discard(into)
        os.close(into)


_PIPES: set[int] = set()
"""Ends of pipes in use. A forked child closes its copies: it would keep the other end waiting."""


def _close_copies() -> None:
    for end in _PIPES:
        os.close(end)
    _PIPES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_copies)


def read_at(file: BinaryIO, place: int, count: int) -> bytes:
    """Up to ``count`` bytes from ``place`` on."""
    file.seek(place)
    return file.read(count)


def find_all(
    file: BinaryIO, patterns: Sequence[re.Pattern[bytes]], length: int, start: int, end: int
) -> Iterator[int]:
    """Places of all matches, in order, of up to ``length`` bytes that lie in ``start .. end``, block by block."""
    while start + length <= end:
        size = min(_SEARCH_BLOCK, end - start)
        data = read_at(file, start, size)
        last = len(data) - length
        for place in sorted(match.start() for pattern in patterns for match in pattern.finditer(data)):
            if place <= last:
                yield start + place
        if len(data) < size or start + size >= end:
            return
        start += last + 1
