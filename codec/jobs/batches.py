"""Working through clips in batches: one bad clip never stops the others."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from codec.data import Clip
from codec.progress import ProgressBar

SORTED_RUN = 64
"""Clips sorted by duration at a time; between runs the order is kept, so a stopped run is a fair sample."""


@dataclass(frozen=True)
class Failure:
    """A clip that could not be done, and why."""

    clip: str
    reason: str

    def __str__(self) -> str:
        return self.reason if self.clip in self.reason else f"{self.clip}: {self.reason}"


@dataclass
class StageReport:
    """The outcome of a stage.

    Attributes:
        done: clips finished by this run.
        skipped: clips that an earlier run had finished.
        failures: clips that failed.
        audio_seconds: of the finished clips.
        wall_seconds: of the run.
    """

    done: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    audio_seconds: float = 0.0
    wall_seconds: float = 0.0


def interleave(clips: list[Clip], seed: int = 0) -> list[Clip]:
    """All clips, each folder's spread evenly over the whole and shuffled within itself.

    The first n clips are then a fair sample of a corpus made of several folders.
    """
    folders: dict[str, list[Clip]] = {}
    for clip in clips:
        folders.setdefault(str(PurePosixPath(clip.path).parent), []).append(clip)
    placed = []
    for folder, members in folders.items():
        random.Random(seed).shuffle(members)
        placed += [((i + 0.5) / len(members), folder, clip) for i, clip in enumerate(members)]
    return [clip for _, _, clip in sorted(placed, key=lambda item: item[:2])]


def make_batches(clips: list[Clip], batch_seconds: float) -> list[list[Clip]]:
    """Batches of similar durations, of at most ``batch_seconds`` of padded audio (or one clip)."""
    batches: list[list[Clip]] = []
    for start in range(0, len(clips), SORTED_RUN):
        batch: list[Clip] = []
        for clip in sorted(clips[start : start + SORTED_RUN], key=lambda clip: clip.seconds):
            if batch and clip.seconds * (len(batch) + 1) > batch_seconds:
                batches.append(batch)
                batch = []
            batch.append(clip)
        batches.append(batch)
    return batches


def run_batches(
    clips: list[Clip], work: Callable[[list[Clip]], None], batch_seconds: float, title: str
) -> StageReport:
    """Call ``work`` on batches, showing progress; a batch that fails is tried again clip by clip."""
    report, started = StageReport(), time.monotonic()
    total = sum(clip.seconds for clip in clips)
    with ProgressBar(title, max(total, 1e-9), counted=False) as bar:
        for batch in make_batches(clips, batch_seconds):
            _run_batch(batch, work, report)
            elapsed = time.monotonic() - started
            state = f"{report.done}/{len(clips)} clips, {report.audio_seconds / max(elapsed, 1e-9):.0f}x real time"
            bar.advance(sum(clip.seconds for clip in batch), state)
    report.wall_seconds = time.monotonic() - started
    return report


def _run_batch(batch: list[Clip], work: Callable[[list[Clip]], None], report: StageReport) -> None:
    try:
        work(batch)
    except Exception as error:  # noqa: BLE001
        # Any error of one file, in whatever library, must not cost the others their turn.
        if len(batch) > 1:
            for clip in batch:
                _run_batch([clip], work, report)
            return
        reason = " ".join(str(error).split()) or type(error).__name__
        report.failures.append(Failure(batch[0].path, reason))
        return
    report.done += len(batch)
    report.audio_seconds += sum(clip.seconds for clip in batch)
