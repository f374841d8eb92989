"""Phones of clips: aligned by pocketsphinx, kept in a file, and looked up at token frames."""

import dataclasses
import hashlib
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal, Self

import numpy as np

from codec.align.pocketsphinx import FRAME_RATE
from codec.align.registry import Aligner, AlignerConfig, aligner
from codec.align.store import AlignmentStore
from codec.align.transcript import plain_words
from codec.align.types import Alignment, Interval, Omitted, Utterance
from codec.data import Clip
from codec.errors import CodecError

_COMMAND = "from codec.align.pocketsphinx import main; main()"


def check_aligner() -> None:
    """Raise a :class:`CodecError` when pocketsphinx is not installed."""
    if importlib.util.find_spec("pocketsphinx") is None:
        raise CodecError(
            "phones are aligned by pocketsphinx, which is not installed; pip install 'codec[eval]'"
        )


def align_clips(clips: Iterable[Clip], cache: Path, skipped: list[Omitted]) -> dict[str, tuple[Interval, ...]]:
    """Phones of each clip with text, by clip name.

    Args:
        cache: file of an :class:`AlignmentStore`; what it holds is not aligned again, what is new is
            appended at once, so that an interrupted run resumes.
        skipped: clips that cannot be aligned are added, with the reason.

    Raises:
        CodecError: when the file holds something else.
    """
    store = AlignmentStore(cache, "phones")
    known, found = store.read(), {}
    with PocketsphinxAligner(PocketsphinxConfig()) as process:
        for clip in clips:
            try:
                process.check_text(clip.text or "")
                key = _key(clip)
            except (CodecError, OSError) as problem:
                skipped.append(Omitted(clip.name, str(problem)))
                continue
            if key not in known:
                (alignment,) = process.align([Utterance(clip)])
                known[key] = dataclasses.replace(alignment, key=key)
                store.append([known[key]])
            error = known[key].error
            if error is not None:
                skipped.append(Omitted(clip.name, error))
            else:
                found[clip.name] = known[key].intervals
    return found


def phones_at_frames(phones: Iterable[Interval], num_frames: int, frame_rate: float) -> list[str | None]:
    """The phone at the centre of each of ``num_frames`` token frames; None where unknown."""
    timeline: list[str | None] = []
    for phone in phones:
        start, stop = on_grid(phone.start), on_grid(phone.end)
        timeline += [None] * (stop - len(timeline))
        timeline[start:stop] = [phone.label] * (stop - start)
    centres = np.floor(frame_centres(num_frames, frame_rate)).astype(int)
    return [timeline[centre] if centre < len(timeline) else None for centre in centres]


def frame_centres(num_frames: int, frame_rate: float) -> np.ndarray:
    """``(num_frames,)``: the centres of token frames, in frames of the aligner."""
    return (np.arange(num_frames) + 0.5) / frame_rate * FRAME_RATE


def on_grid(seconds: float) -> int:
    """The frame of the aligner that begins at a border between phones."""
    return round(seconds * FRAME_RATE)


@dataclass(frozen=True)
class PocketsphinxConfig(AlignerConfig):
    """The aligner ``pocketsphinx`` has no options: it brings its own model."""

    type: Literal["pocketsphinx"] = "pocketsphinx"


@aligner("pocketsphinx")
class PocketsphinxAligner(Aligner):
    """English phones from a separate process that is started when needed, and again after a crash.

    A clip that cannot be aligned has the reason as its ``error``.
    """

    Config = PocketsphinxConfig
    unit = "phones"
    sample_rate = None

    def __init__(self, config: PocketsphinxConfig) -> None:
        self._source = config.type
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_text(self, text: str) -> None:
        """Raise a :class:`CodecError` for a text without words, or with digits."""
        plain_words(text)

    def align(self, batch: list[Utterance]) -> list[Alignment]:
        """Timed phones per utterance; see :class:`codec.align.registry.Aligner`."""
        return [self._one(utterance.clip) for utterance in batch]

    def close(self) -> None:
        """Stop the process."""
        if self._process is None:
            return
        requests, replies = _pipes(self._process)
        with suppress(BrokenPipeError):
            requests.close()
        self._process.wait()
        replies.close()
        self._process = None

    def _one(self, clip: Clip) -> Alignment:
        reply = self._ask(json.dumps({"audio": str(clip.audio), "text": clip.text}))
        if not reply:
            self.close()
            return Alignment(clip.name, (), error="the aligner crashed")
        values = json.loads(reply)
        if "error" in values:
            return Alignment(clip.name, (), error=values["error"])
        return Alignment(clip.name, tuple(Interval(*row) for row in values["phones"]), self._source)

    def _ask(self, request: str) -> str:
        """The process's answer to a request, one line each; empty when it crashed."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _COMMAND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                encoding="utf-8",
            )
        requests, replies = _pipes(self._process)
        try:
            requests.write(request + "\n")
            requests.flush()
            return replies.readline()
        except BrokenPipeError:
            return ""


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    """Into the process and out of it."""
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def _key(clip: Clip) -> str:
    """Key of an alignment, which depends on the recording and its text."""
    digest = hashlib.sha256(clip.audio.read_bytes())
    digest.update((clip.text or "").encode())
    return digest.hexdigest()[:24]
