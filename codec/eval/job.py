"""One job of an evaluation: code a clip with a system, then score it. Runs in a worker process."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from codec.atomic import atomic_path
from codec.audio.io import load_audio, save_audio
from codec.audio.resample import resample
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.align import Delay, Method, find_delay, remove_delay
from codec.eval.measures.base import Measure, digest
from codec.eval.systems.base import System
from codec.eval.types import SCORING_RATE, Coded, Pair, Row, Skip

CODING = "coding"
"""Name of the row with the results of coding itself: bits, seconds, delay."""
ENTRIES = "entries_"
"""With a layer's number: the value of such a row that tells the size of its codebook."""
# -70 dBFS: below the noise of any recording of speech.
_SILENT_RMS = 10 ** (-70 / 20)


@dataclass(frozen=True)
class Job:
    """A clip, a system, and the measures still to be made.

    Attributes:
        coding_key: key of the coding row.
        coded: the coding row of an earlier run, whose audio is on disk; else ``None``.
        keys: row key of each measure, by name.
        folder: of the evaluation's output.
    """

    clip: Clip
    system: System
    measures: tuple[Measure, ...]
    coding_key: str
    coded: Row | None
    keys: dict[str, str]
    folder: Path
    max_delay: float
    align: Method

    @property
    def audio(self) -> Path:
        """Path of the decoded audio."""
        return output_path(self.folder, self.system.label, self.clip.name, ".flac")


    @property
    def has_audio(self) -> bool:
        """Whether the decoded audio is there, and is not that of another model of the same label."""
        try:
            return self.audio.is_file() and self._owner.read_text(encoding="utf-8") == self.coding_key
        except (OSError, ValueError):
            return False

    @property
    def _owner(self) -> Path:
        """File with the coding key of the audio beside it."""
        return output_path(self.folder, self.system.label, self.clip.name, ".key")

    def save(self, coded: Coded, output: torch.Tensor) -> None:
        """Write codes and audio ``(T,)`` at :data:`SCORING_RATE`, whose owner is known only when all is written."""
        self.audio.parent.mkdir(parents=True, exist_ok=True)
        self._owner.unlink(missing_ok=True)
        if coded.codes is not None:
            codes = output_path(self.folder, self.system.label, self.clip.name, ".npy")
            with atomic_path(codes) as temporary:
                np.save(temporary, coded.codes.astype(np.int32), allow_pickle=False)
        save_audio(self.audio, output, SCORING_RATE)
        self._owner.write_text(self.coding_key, encoding="utf-8")


def output_path(folder: Path, system: str, clip: str, suffix: str) -> Path:
    """File of a system's output for a clip."""
    return folder / "outputs" / file_name(system) / f"{file_name(clip)}{suffix}"


def run_job(job: Job) -> list[Row]:
    """Code, align and score. Every failure becomes a row with its reason."""
    row = job.coded or _code(job)
    rows = [row] if job.coded is None else []
    if row.skipped is not None:
        return rows + [_skipped(job, measure, row.skipped) for measure in job.measures]
    if not job.measures:
        return rows
    try:
        pair = _pair(job, int(row.values["delay"]))
    except Skip as skip:
        return rows + [_skipped(job, measure, str(skip)) for measure in job.measures]
    return rows + [_score(job, measure, pair) for measure in job.measures]


def _code(job: Job) -> Row:
    try:
        wav = _read(job.clip, job.system.sample_rate)
        reference = _read(job.clip, SCORING_RATE)
        coded = job.system.code(job.clip, wav)
        if not np.isfinite(coded.wav).all():
            raise Skip("its output holds NaN or infinite samples")
        if not len(coded.wav):
            raise Skip("its output is empty")
        output = resample(torch.from_numpy(coded.wav), coded.sample_rate, SCORING_RATE)
        job.save(coded, output)
        # The delay is that of the file as scored: 16-bit, clipped to full scale.
        scored = load_audio(job.audio).wav.numpy()
        delay = None
        if not job.system.aligned:
            delay = find_delay(reference, scored, SCORING_RATE, job.max_delay, job.align)
        return _row(job, CODING, job.coding_key, _coding_values(coded, len(reference), delay))
    except Exception as error:  # noqa: BLE001  (one bad clip must not end the run)
        return _row(job, CODING, job.coding_key, skipped=_reason(error))


def _coding_values(coded: Coded, samples: int, delay: Delay | None) -> dict[str, float]:
    values = {"seconds": samples / SCORING_RATE, "delay": 0.0}
    if delay is not None:
        values |= {"delay": float(delay.samples), "correlation": delay.correlation}
    known = {
        "bits": coded.bits,
        "encode_seconds": coded.encode_seconds,
        "decode_seconds": coded.decode_seconds,
    }
    known |= {f"{ENTRIES}{layer}": size for layer, size in enumerate(coded.codebook_sizes, start=1)}
    return values | {name: float(value) for name, value in known.items() if value is not None}


def _pair(job: Job, delay: int) -> Pair:
    reference = _read(job.clip, SCORING_RATE)
    output = load_audio(job.audio).wav.numpy()
    aligned = remove_delay(reference, output, delay, SCORING_RATE)
    return Pair(job.clip, aligned.reference, aligned.output)


def _score(job: Job, measure: Measure, pair: Pair) -> Row:
    key = job.keys[measure.name]
    try:
        if measure.intrusive and _silent(pair.reference):
            raise Skip("the recording is silent")
        values = {name: float(value) for name, value in measure(pair).items()}
        broken = [name for name, value in values.items() if not np.isfinite(value)]
        if broken:
            raise Skip(f"{', '.join(broken)} came out as NaN or infinite")
        return _row(job, measure.name, key, values, notes=measure.notes(pair))
    except Exception as error:  # noqa: BLE001  (a crash of a metric on one file must not end the run)
        return _row(job, measure.name, key, skipped=_reason(error))


def _read(clip: Clip, sample_rate: int) -> np.ndarray:
    try:
        return load_audio(clip.audio, sample_rate).wav.numpy()
    except CodecError as error:
        # The clip is named next to the reason; without it, equal reasons are counted together.
        raise Skip(str(error).removeprefix(f"{clip.audio}: ")) from None


def _silent(wav: np.ndarray) -> bool:
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) < _SILENT_RMS


def _skipped(job: Job, measure: Measure, reason: str) -> Row:
    return _row(job, measure.name, job.keys[measure.name], skipped=reason)


def _row(
    job: Job,
    measure: str,
    key: str,
    values: dict[str, float] | None = None,
    notes: dict[str, str] | None = None,
    skipped: str | None = None,
) -> Row:
    return Row(key, job.system.label, job.clip.name, measure, values or {}, notes or {}, skipped)


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())[:200]
    if isinstance(error, (Skip, CodecError)):
        return text
    return f"crashed: {type(error).__name__}: {text}"


def file_name(name: str) -> str:
    """The name of a clip or system as that of a file; the digest keeps apart names that look alike."""
    safe = re.sub(r"[^A-Za-z0-9.@-]+", "_", name)
    return safe if safe == name else f"{safe[-80:]}-{digest(name)[:8]}"
