"""Phone labels of clips: alignments cached in a file, and looked up at token frames."""

import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import numpy as np

from codec.align.pocketsphinx import FRAME_RATE, Segment
from codec.align.transcript import normalise
from codec.align.utterance import Skip
from codec.data import Clip
from codec.errors import CodecError

_COMMAND = "from codec.align.pocketsphinx import main; main()"


def check_aligner() -> None:
    """Raise a :class:`CodecError` when pocketsphinx is not installed."""
    if importlib.util.find_spec("pocketsphinx") is None:
        raise CodecError("phones are aligned by pocketsphinx, which is not installed; pip install 'codec[eval]'")


def align_clips(clips: Iterable[Clip], cache: Path, skipped: list[Skip]) -> dict[str, list[Segment]]:
    """Phones of each clip with text, by clip name.

    Args:
        cache: JSON lines, one clip a line; what it holds is not aligned again, what is new is
            appended at once, so that an interrupted run goes on where it was.
        skipped: clips that cannot be aligned are added, with the reason.
    """
    found = _read(cache)
    alignments = {}
    with _AlignerProcess() as process, cache.open("a", encoding="utf-8") as file:
        for clip in clips:
            try:
                normalise(clip.text)
                key = _key(clip)
            except (CodecError, OSError) as error:
                skipped.append(Skip(clip.name, str(error)))
                continue
            if key not in found:
                found[key] = process.align(clip)
                file.write(json.dumps({"key": key, "clip": clip.name, **found[key]}) + "\n")
                file.flush()
            if "error" in found[key]:
                skipped.append(Skip(clip.name, found[key]["error"]))
            else:
                alignments[clip.name] = [Segment(*values) for values in found[key]["segments"]]
    return alignments


def phones_at_frames(segments: list[Segment], num_frames: int, frame_rate: float) -> list[str | None]:
    """The phone at the centre of each of ``num_frames`` token frames; None where unknown."""
    timeline: list[str | None] = [None] * max((segment.stop for segment in segments), default=0)
    for segment in segments:
        timeline[segment.start : segment.stop] = [segment.phone] * (segment.stop - segment.start)
    centres = np.floor((np.arange(num_frames) + 0.5) / frame_rate * FRAME_RATE).astype(int)
    return [timeline[centre] if centre < len(timeline) else None for centre in centres]


class _AlignerProcess:
    """The aligner in a process of its own, started when first needed and again after a crash."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def align(self, clip: Clip) -> dict[str, Any]:
        """``{"segments": [[phone, start, stop], ...]}`` or ``{"error": reason}``."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        try:
            self._process.stdin.write(json.dumps({"audio": str(clip.audio), "text": clip.text}) + "\n")
            self._process.stdin.flush()
            reply = self._process.stdout.readline()
        except BrokenPipeError:
            reply = ""
        if reply:
            return json.loads(reply)
        self._stop()
        return {"error": "the aligner crashed"}

    def _stop(self) -> None:
        if self._process is None:
            return
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            pass
        self._process.wait()
        self._process.stdout.close()
        self._process = None


def _key(clip: Clip) -> str:
    """What an alignment depends on: the recording and its text."""
    digest = hashlib.sha256(clip.audio.read_bytes())
    digest.update((clip.text or "").encode())
    return digest.hexdigest()[:24]


def _read(cache: Path) -> dict[str, dict[str, Any]]:
    """Alignments by key; a line cut short by an interruption is dropped from the file."""
    if not cache.exists():
        return {}
    found, whole = {}, []
    for line in cache.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            found[entry.pop("key")] = entry
            whole.append(line + "\n")
        except (ValueError, KeyError):
            continue
    cache.write_text("".join(whole), encoding="utf-8")
    return found
