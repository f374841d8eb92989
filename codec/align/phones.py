"""Phones of clips: aligned by pocketsphinx, kept in a file, and looked up at token frames."""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from codec.align.pocketsphinx import FRAME_RATE, phones_of
from codec.align.registry import Aligner, AlignerConfig, aligner
from codec.align.store import AlignmentStore
from codec.align.transcript import plain_words
from codec.align.types import Alignment, Interval, Omitted, Utterance
from codec.data import Clip
from codec.errors import CodecError
from codec.jobs.executor import LocalExecutor, Lost

TIMEOUT = 600.0
"""Seconds for one clip, with the time to load the model."""


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
    known = store.read()
    keyed = [(clip, *_key(clip)) for clip in clips]
    todo: dict[str, Clip] = {}
    for clip, key, problem in keyed:
        if problem is None and key not in known:
            todo.setdefault(key, clip)
    keys = list(todo)

    def keep(index: int, alignment: Alignment) -> None:
        known[keys[index]] = dataclasses.replace(alignment, key=keys[index])
        store.append([known[keys[index]]])

    PocketsphinxAligner(PocketsphinxConfig()).align_each([Utterance(todo[key]) for key in keys], keep)
    found = {}
    for clip, key, problem in keyed:
        error = problem or known[key].error
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
    """English phones, aligned in a process of its own: a crash or a hang costs one clip.

    A clip that cannot be aligned has the reason as its ``error``.
    """

    Config = PocketsphinxConfig
    unit = "phones"
    sample_rate = None

    def __init__(self, config: PocketsphinxConfig) -> None:
        self._source = config.type
        self._executor = LocalExecutor(1, timeout=TIMEOUT)

    def check_text(self, text: str) -> None:
        """Raise a :class:`CodecError` for a text without words, or with digits."""
        plain_words(text)

    def align(self, batch: list[Utterance]) -> list[Alignment]:
        """Timed phones per utterance; see :class:`codec.align.registry.Aligner`."""
        found: dict[int, Alignment] = {}
        self.align_each(batch, found.__setitem__)
        return [found[index] for index in range(len(batch))]

    def align_each(self, batch: Sequence[Utterance], done: Callable[[int, Alignment], None]) -> None:
        """The same, handing over each alignment with its index as it comes."""

        def run(indices: Sequence[int]) -> dict[int, Lost]:
            lost: dict[int, Lost] = {}

            def ended(place: int, result: list[Interval] | str | Lost) -> None:
                index = indices[place]
                if isinstance(result, Lost):
                    lost[index] = result
                else:
                    done(index, self._alignment(batch[index].clip, result))

            tasks = [(str(batch[index].clip.audio), batch[index].text) for index in indices]
            self._executor.run(phones_of, tasks, ended)
            return lost

        # A crash may take clips along that were not tried; of one that is alone it tells the truth.
        for index in run(range(len(batch))):
            for lost in run([index]).values():
                done(index, self._alignment(batch[index].clip, lost.reason))

    def _alignment(self, clip: Clip, result: list[Interval] | str) -> Alignment:
        if isinstance(result, str):
            return Alignment(clip.name, (), error=result)
        return Alignment(clip.name, tuple(result), self._source)


def _key(clip: Clip) -> tuple[str, str | None]:
    """What an alignment depends on, the recording and its text, as a hash; or "" and why there can be none."""
    try:
        plain_words(clip.text or "")
        digest = hashlib.sha256(clip.audio.read_bytes())
    except (CodecError, OSError) as problem:
        return "", str(problem)
    digest.update((clip.text or "").encode())
    return digest.hexdigest()[:24], None
