"""Looking into recordings before they enter a manifest: in threads, and so that a stopped run goes on."""

import json
import math
import os
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from codec.ahead import ahead
from codec.audio.io import duration_of
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.jsonl import append_lines, read_lines

Key = tuple[str, int, int]
"""Path, size and time of a file, in nanoseconds."""


def verified_seconds(source: Path | BinaryIO, verify: bool) -> float:
    """Seconds of an audio file.

    Args:
        verify: decode all of it, so that a damaged body or NaN is found now and not in training.

    Raises:
        CodecError: when it is not an audio file, is empty or damaged, or holds NaN or infinity; without the
            file's name.
    """
    try:
        return duration_of(source, verify)
    except CodecError as error:
        raise CodecError(str(error).removeprefix(f"{source}: ")) from None


class DecodedLengths:
    """Seconds of recordings that have been decoded whole, one JSON line each, for a run that goes on."""

    def __init__(self, path: Path):
        """
        Raises:
            CodecError: when the file at ``path`` is no such file.
        """
        self._path, self._lock = path, threading.Lock()
        try:
            entries = [json.loads(line) for line in read_lines(path)]
            self._known: dict[Key, float] = {tuple(entry["file"]): float(entry["seconds"]) for entry in entries}
        except (ValueError, TypeError, KeyError):
            raise CodecError(f"{path}: damaged; delete it to read all recordings again") from None

    def get(self, key: Key) -> float | None:
        return self._known.get(key)

    def add(self, key: Key, seconds: float) -> None:
        with self._lock:
            append_lines(self._path, [json.dumps({"file": key, "seconds": seconds})])


def lengths(
    clips: Iterable[Clip], verify: bool, workers: int, decoded: DecodedLengths
) -> Iterator[tuple[Clip, float | CodecError]]:
    """The clips in order, each with its seconds or why it cannot be used.

    Args:
        verify: decode recordings whole, see :func:`verified_seconds`.
        workers: threads; libsndfile runs without the interpreter's lock.
        decoded: recordings that an earlier run decoded, and where those of this one are noted.
    """

    def read(clip: Clip) -> tuple[Clip, float | CodecError]:
        try:
            if not verify:
                return clip, verified_seconds(clip.audio, verify)
            key = _key(clip.audio)
            if (known := decoded.get(key)) is not None:
                return clip, known
            seconds = verified_seconds(clip.audio, verify)
        except CodecError as error:
            return clip, error
        decoded.add(key, seconds)
        return clip, seconds

    return ahead(read, clips, workers, math.inf, lambda _: 0)


def _key(audio: Path) -> Key:
    try:
        status = audio.stat()
    except OSError:
        # Reading it says why.
        return str(audio), 0, 0
    return os.path.abspath(audio), status.st_size, status.st_mtime_ns
