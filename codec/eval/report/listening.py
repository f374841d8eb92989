"""Clips to listen to: their choice, and their audio from every system."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from codec.audio.io import load_audio
from codec.data.manifest import Clip
from codec.eval.job import CODING, output_path
from codec.eval.report.content import Report
from codec.eval.types import SCORING_RATE


@dataclass(frozen=True)
class Listening:
    """One clip, ``(T,)`` float32 at :data:`SCORING_RATE` by system; the recording first."""

    clip: Clip
    outputs: dict[str, np.ndarray]


def choose_listening(report: Report, folder: Path, count: int) -> list[Listening]:
    """The shortest clip of each speaker, then the next, up to ``count``, of those that were coded."""
    coded: dict[str, set[str]] = {}
    for row in report.rows:
        if row.measure == CODING and row.skipped is None:
            coded.setdefault(row.clip, set()).add(row.system)
    seen: dict[str | None, int] = {}
    ranked = []
    known = [clip for clip in report.clips if clip.name in coded]
    for order, clip in enumerate(sorted(known, key=lambda clip: clip.seconds)):
        seen[clip.speaker] = seen.get(clip.speaker, 0) + 1
        ranked.append((seen[clip.speaker], order, clip))
    return [_listening(report, folder, clip, coded[clip.name]) for *_, clip in sorted(ranked)[:count]]


def flac_bytes(wav: np.ndarray) -> bytes:
    """A 16-bit FLAC file, which every current browser plays."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(wav, -1, 1), SCORING_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def _listening(report: Report, folder: Path, clip: Clip, systems: set[str]) -> Listening:
    outputs = {"original": load_audio(clip.audio, SCORING_RATE).wav.numpy()}
    for system in report.systems:
        if system.label in systems and system.label != "original":
            path = output_path(folder, system.label, clip.name, ".flac")
            outputs[system.label] = load_audio(path).wav.numpy()
    return Listening(clip, outputs)
