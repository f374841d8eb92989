"""All audio of the manifests, decoded once into one int16 file that every process maps.

Decoding compressed speech costs more than training on it, and crops come from anywhere in a
clip. The packed file lies in ``<cache>/<key>/`` with an index of one JSON line per clip; the key is
a hash of rate, paths, sizes and times, so changed data makes a new one.
"""

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from codec.ahead import ahead
from codec.atomic import workplace
from codec.audio.io import load_audio
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.jsonl import read_lines

_INDEX = "index.jsonl"
_AHEAD = 1 << 26
"""Samples that may wait to be written."""


@dataclass(frozen=True)
class AudioStore:
    """Decoded clips, one after the other.

    Attributes:
        clips: as in the manifests; one that could not be decoded has no samples.
        samples: ``(N total,)`` int16, a read-only memory map.
        offsets: ``(clips + 1,)`` int64; clip i lies in ``offsets[i]:offsets[i + 1]``.
        sample_rate: Hz.
        errors: what was wrong with those that could not be decoded.
    """

    clips: list[Clip]
    samples: np.ndarray
    offsets: np.ndarray
    sample_rate: int
    errors: list[str]

    @property
    def lengths(self) -> np.ndarray:
        """``(clips,)`` samples of each clip."""
        return np.diff(self.offsets)

    @property
    def hours(self) -> float:
        return float(self.offsets[-1]) / self.sample_rate / 3600

    def spread(self, count: int) -> list[int]:
        """Up to ``count`` clips that have audio, evenly spread over them."""
        usable = np.flatnonzero(self.lengths)
        return [int(usable[number * len(usable) // count]) for number in range(min(count, len(usable)))]

    def read(self, clip: int, start: int, count: int) -> np.ndarray:
        """``(n,)`` float32 in [-1, 1): up to ``count`` samples of a clip from ``start``."""
        first = self.offsets[clip] + start
        last = min(first + count, self.offsets[clip + 1])
        return self.samples[first:last].astype(np.float32) / 32_768.0


Progress = Callable[[Iterable[Any], int], Iterable[Any]]


def open_store(
    clips: list[Clip], sample_rate: int, cache: Path, progress: Progress | None = None
) -> AudioStore:
    """The packed audio of ``clips``, built or completed first where needed.

    Args:
        clips: of all manifests; files must exist.
        sample_rate: Hz to resample to.
        cache: folder that holds packed files.
        progress: wraps the clips while they are decoded, given them and their number.

    Raises:
        CodecError: for a missing file, or a packed file that is damaged. Clips that are unreadable
            or hold NaN are in ``errors``; the rest is still decoded.
    """
    folder = cache / store_key(clips, sample_rate)
    if not (folder / _INDEX).is_file():
        _build(clips, sample_rate, folder, progress or (lambda items, total: items))
    lines = (folder / _INDEX).read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    ends = [entry["end"] for entry in entries]
    errors = [entry["error"] for entry in entries if entry["error"]]
    if ends and ends[-1] == 0:
        raise CodecError(f"none of the {len(clips)} clips can be decoded; first: {errors[0]}")
    samples = np.memmap(folder / "audio.i16", dtype=np.int16, mode="r")
    if len(ends) != len(clips) or ends[-1] != len(samples):
        raise CodecError(f"{folder}: the packed audio is damaged; delete this folder to build it again")
    return AudioStore(clips, samples, np.array([0, *ends], dtype=np.int64), sample_rate, errors)


def store_key(clips: list[Clip], sample_rate: int) -> str:
    """16 hex digits that change with the rate, the clips, or a file's size or time.

    Raises:
        CodecError: for a missing file.
    """
    digest = hashlib.sha256(str(sample_rate).encode())
    for clip in clips:
        try:
            status = clip.audio.stat()
        except OSError:
            raise CodecError(
                f"{clip.audio}: no such file; the manifest names it, so correct the manifest or data.root"
            ) from None
        digest.update(os.fsencode(f"\n{clip.audio.resolve()}\t{status.st_size}\t{status.st_mtime_ns}"))
    return digest.hexdigest()[:16]


def _build(clips: list[Clip], sample_rate: int, folder: Path, progress: Progress) -> None:
    """Append what is still missing, then give the folder its name: an interrupted build resumes where it stopped."""
    with workplace(folder, _INDEX) as work:
        audio, index = work / "audio.i16", work / _INDEX
        done = _completed(audio, index)
        end = done[-1]["end"] if done else 0
        index.write_text("".join(json.dumps(entry) + "\n" for entry in done), encoding="utf-8")
        with audio.open("ab") as samples, index.open("a", encoding="utf-8") as lines:
            samples.truncate(2 * end)
            todo = clips[len(done) :]
            # libsndfile and soxr run without the interpreter's lock.
            workers = min(8, os.cpu_count() or 1)
            decoded = ahead(lambda clip: _decode(clip, sample_rate), todo, workers, _AHEAD, lambda done: len(done[0]))
            for clip, (wav, error) in zip(progress(todo, len(todo)), decoded, strict=True):
                samples.write(wav.tobytes())
                samples.flush()
                end += len(wav)
                lines.write(json.dumps({"path": clip.path, "end": end, "error": error}) + "\n")
                lines.flush()


def _completed(audio: Path, index: Path) -> list[dict[str, Any]]:
    """Entries of an interrupted build whose samples reached the disk."""
    available = audio.stat().st_size // 2 if audio.is_file() else 0
    entries = [json.loads(line) for line in read_lines(index)]
    return list(itertools.takewhile(lambda entry: entry["end"] <= available, entries))


def _decode(clip: Clip, sample_rate: int) -> tuple[np.ndarray, str | None]:
    """Samples ``(n,)`` int16, and what was wrong if there are none."""
    try:
        wav = load_audio(clip.audio, sample_rate).wav.numpy()
    except CodecError as error:
        return np.zeros(0, np.int16), str(error)
    return np.clip(np.rint(wav * 32_768.0), -32_768, 32_767).astype(np.int16), None
