"""The report as one self-contained page."""

import base64
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from codec.console import counted
from codec.eval.report.content import Report
from codec.eval.report.listening import Listening, flac_bytes
from codec.eval.report.plots import spectrogram_image
from codec.eval.report.table import (
    ABSENT,
    CODING_HEADINGS,
    MARK,
    clip_counts,
    coding_cells,
    doubt_lines,
    fewer_lines,
    figure_cells,
    heading,
    mark_lines,
    omission_lines,
)

_TEMPLATE = Path(__file__).with_name("page.html.jinja")


def to_html(report: Report, listening: list[Listening], curves: bytes | None) -> str:
    """The page: table, curves, spectrograms with players, and how it was made."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        headings=[heading(column) for column in report.columns],
        coding_headings=CODING_HEADINGS,
        cells=figure_cells(report),
        coding={system.label: coding_cells(system) for system in report.systems},
        counts=list(clip_counts(report).values()),
        curves=_data_url(curves, "image/png") if curves else None,
        listening=[_card(item) for item in listening],
        marks=mark_lines(report),
        omissions=omission_lines(report),
        fewer=fewer_lines(report) + doubt_lines(report),
        probes={
            system: _probe_table(probes, report.probe_marks.get(system, {}))
            for system, probes in report.probes.items()
        },
    )


@dataclass(frozen=True)
class _ProbeTable:
    """One model's probes as text."""

    rows: list[list[str]]
    notes: list[str]


def _probe_table(probes: dict[str, Any], marks: dict[str, list[str]]) -> _ProbeTable:
    rows, notes = [], []
    for name, result in probes.items():
        for m in result.measures:
            interval = ABSENT if m.low is None else f"{m.low:.3f}–{m.high:.3f}"
            title = f"{m.name.replace('_', ' ')} ({m.better} is better)"
            cells = [f"{m.value:.3f}" + MARK * (name in marks), interval, f"{m.baseline:.3f}", str(m.clips)]
            rows.append([name, title, m.codebooks, m.features, *cells])
        reasons = Counter(skip.reason for skip in result.skipped)
        notes += [f"{name}: {counted(count, 'clip')} skipped: {reason}" for reason, count in reasons.items()]
        notes += [f"{name}: {note}" for note in result.notes]
    return _ProbeTable(rows, notes)


def _card(item: Listening) -> dict[str, Any]:
    players = [
        {
            "system": system,
            "image": _data_url(spectrogram_image(wav), "image/png"),
            "audio": _data_url(flac_bytes(wav), "audio/flac"),
        }
        for system, wav in item.outputs.items()
    ]
    return {"clip": item.clip, "players": players}


def _data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
