"""The report's metrics from the rows: pooled over the clips that every system was scored on."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from codec.data.manifest import Clip
from codec.eval.codes import CodebookUse, codebook_use, read_codes
from codec.eval.job import CODING, ENTRIES, output_path
from codec.eval.measures.base import Column, Measure
from codec.eval.runner import Outcome, Request
from codec.eval.statistics import Figure, bootstrap, group_indices
from codec.eval.systems.base import System
from codec.eval.systems.ours import Ours
from codec.eval.training import Training
from codec.eval.types import SCORING_RATE, Row


@dataclass(frozen=True)
class Omission:
    """Clips that a system was not scored on, and why."""

    measure: str
    reason: str
    clips: list[str]


@dataclass(frozen=True)
class SystemSummary:
    """One row of the table.

    Attributes:
        kbps: bits really used over the clips' length; ``None`` if unknown.
        delay_ms: median delay that was removed.
        correlation: median correlation of the waveforms at that delay.
        rtf_encode: seconds of computing per second of audio, on one thread.
        rtf_decode: likewise.
        figures: by column name; a column that no clip could be scored for is missing.
        omissions: the skipped measurements.
        codebooks: of token codecs.
        absent: the reason why the system could not run.
        marks: by column name, losses that the model was trained with and that the figure resembles.
        untold: whether this is a model of ours that does not list its losses.
    """

    label: str
    family: str
    kbps: float | None = None
    delay_ms: float | None = None
    correlation: float | None = None
    rtf_encode: float | None = None
    rtf_decode: float | None = None
    figures: dict[str, Figure] = field(default_factory=dict)
    omissions: list[Omission] = field(default_factory=list)
    codebooks: list[CodebookUse] = field(default_factory=list)
    absent: str | None = None
    marks: dict[str, list[str]] = field(default_factory=dict)
    untold: bool = False


class _Table:
    """Rows by system, measure and clip."""

    def __init__(self, rows: Sequence[Row]):
        self.rows: dict[str, dict[str, dict[str, Row]]] = defaultdict(lambda: defaultdict(dict))
        for row in rows:
            self.rows[row.system][row.measure][row.clip] = row

    def scored(self, system: str, measure: str) -> dict[str, Row]:
        """Rows that have values, by clip."""
        return {clip: row for clip, row in self.rows[system][measure].items() if row.skipped is None}


def summarize(request: Request, outcome: Outcome, seed: int) -> list[SystemSummary]:
    """The table's rows, in the order of the request.

    A measure is pooled over the clips that all systems were scored on by it. A system that was scored
    on none has no figure and does not take the others' away.
    """
    table = _Table(outcome.rows)
    shared = {measure.name: _shared_clips(request, table, measure) for measure in request.measures}
    return [
        SystemSummary(system.label, system.family, absent=outcome.absent[system.label])
        if system.label in outcome.absent
        else _summary(request, table, system, shared, seed)
        for system in request.systems
    ]


def all_columns(measures: Sequence[Measure]) -> list[Column]:
    """Columns of the measures, in order."""
    return [column for measure in measures for column in measure.columns]


def _shared_clips(request: Request, table: _Table, measure: Measure) -> list[str]:
    scored = [set(table.scored(system.label, measure.name)) for system in request.systems]
    able = [clips for clips in scored if clips]
    common = set.intersection(*able) if able else set()
    return [clip.name for clip in request.clips if clip.name in common]


def _summary(
    request: Request, table: _Table, system: System, shared: dict[str, list[str]], seed: int
) -> SystemSummary:
    coded = table.scored(system.label, CODING)
    figures: dict[str, Figure] = {}
    for measure in request.measures:
        rows = table.scored(system.label, measure.name)
        clips = shared[measure.name] if rows else []
        if clips:
            figures |= _figures(measure, rows, clips, request.clips, seed)
    training = system.training()
    return SystemSummary(
        system.label,
        system.family,
        kbps=_ratio(coded, "bits", 1000),
        delay_ms=_median(coded, "delay", 1000 / SCORING_RATE),
        correlation=_median(coded, "correlation"),
        rtf_encode=_ratio(coded, "encode_seconds"),
        rtf_decode=_ratio(coded, "decode_seconds"),
        figures=figures,
        omissions=_omissions(table.rows[system.label]),
        codebooks=_codebooks(request, system, coded),
        marks=_marks(training, request.measures) if training else {},
        untold=training is None and isinstance(system, Ours),
    )


def _figures(
    measure: Measure, rows: dict[str, Row], shared: list[str], clips: Sequence[Clip], seed: int
) -> dict[str, Figure]:
    # A clip without a speaker stands for itself in the bootstrap.
    speakers = {clip.name: clip.speaker or f"clip {clip.name}" for clip in clips}
    count, owner = group_indices([speakers[clip] for clip in shared])
    own = _values([rows[clip] for clip in rows])
    values = _values([rows[clip] for clip in shared])
    figures = {}
    for column in measure.columns:

        def pool(weights: np.ndarray, name: str = column.name) -> np.ndarray:
            return measure.pool(name, values, weights)

        low, high = bootstrap(lambda draws: pool(draws[:, owner].astype(np.float64)), count, seed)
        figures[column.name] = Figure(
            value=float(pool(np.ones((1, len(shared))))[0]),
            low=low,
            high=high,
            clips=len(shared),
            own_value=float(measure.pool(column.name, own, np.ones((1, len(rows))))[0]),
            own_clips=len(rows),
        )
    return figures


def _marks(training: Training, measures: Sequence[Measure]) -> dict[str, list[str]]:
    found = [(measure, training.like(measure.resembles)) for measure in measures]
    return {column.name: losses for measure, losses in found if losses for column in measure.columns}


def _values(rows: list[Row]) -> dict[str, np.ndarray]:
    return {name: np.array([row.values[name] for row in rows]) for name in rows[0].values}


def _ratio(coded: dict[str, Row], name: str, scale: float = 1.0) -> float | None:
    """A total over the total length, or nothing when a clip lacks it."""
    rows = list(coded.values())
    if not rows or any(name not in row.values for row in rows):
        return None
    return sum(row.values[name] for row in rows) / sum(row.values["seconds"] for row in rows) / scale


def _median(coded: dict[str, Row], name: str, scale: float = 1.0) -> float | None:
    found = [row.values[name] for row in coded.values() if name in row.values]
    return float(np.median(found)) * scale if found else None


def _omissions(rows: dict[str, dict[str, Row]]) -> list[Omission]:
    """Grouped by measure and reason; failures of coding are listed once, not for every metric."""
    lost = {clip for clip, row in rows[CODING].items() if row.skipped is not None}
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for measure, by_clip in rows.items():
        for clip, row in by_clip.items():
            if row.skipped is not None and (measure == CODING or clip not in lost):
                groups[measure, row.skipped].append(clip)
    return [Omission(measure, reason, clips) for (measure, reason), clips in groups.items()]


def _codebooks(request: Request, system: System, coded: dict[str, Row]) -> list[CodebookUse]:
    values = next((row.values for row in coded.values()), {})
    sizes = [int(values[name]) for name in values if name.startswith(ENTRIES)]
    if not sizes:
        return []
    paths = [output_path(request.out, system.label, clip, ".npy") for clip in coded]
    return codebook_use(read_codes(paths), sizes)
