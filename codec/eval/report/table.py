"""The cells of the table, as text; Markdown and the page share them."""

from dataclasses import dataclass

from codec.eval.align import WEAK_CORRELATION
from codec.eval.measures.base import Column
from codec.eval.report.content import Report
from codec.eval.statistics import Figure
from codec.eval.summary import SystemSummary

ABSENT = "–"
MARK = "*"
"""The mark of a metric that resembles a loss of the model."""


@dataclass(frozen=True)
class Cell:
    """One printed figure."""

    text: str
    interval: str = ""
    best: bool = False


def heading(column: Column) -> str:
    """Title with an arrow to the better side."""
    arrow = {True: " ↑", False: " ↓", None: ""}[column.higher_is_better]
    return column.title + arrow


def figure_cells(report: Report) -> dict[str, list[Cell]]:
    """The cells of the metrics' columns by system; the best baseline of each column is marked."""
    best = {column.name: _best(report, column) for column in report.columns}
    return {
        system.label: [
            _cell(system.figures.get(column.name), column, best[column.name], column.name in system.marks)
            for column in report.columns
        ]
        for system in report.systems
    }


def coding_cells(system: SystemSummary) -> list[str]:
    """kbps, delay in ms, RTF of encoding and decoding."""
    formats = (
        (system.kbps, "{:.2f}"),
        (system.delay_ms, "{:.1f}"),
        (system.rtf_encode, "{:.3f}"),
        (system.rtf_decode, "{:.3f}"),
    )
    return [ABSENT if value is None else form.format(value + 0.0) for value, form in formats]


CODING_HEADINGS = ("kbps", "delay ms", "RTF enc", "RTF dec")


def clip_counts(report: Report) -> dict[str, int]:
    """The number of clips behind each column's values."""
    counts = {}
    for column in report.columns:
        figures = [s.figures[column.name] for s in report.systems if column.name in s.figures]
        counts[column.name] = figures[0].clips if figures else 0
    return counts


def omission_lines(report: Report) -> list[str]:
    """Everything that was skipped, one line each, with count and reason."""
    lines = [f"{system.label}: not run: {system.absent}" for system in report.systems if system.absent]
    for system in report.systems:
        for omission in system.omissions:
            shown = ", ".join(omission.clips[:3]) + (", ..." if len(omission.clips) > 3 else "")
            count = len(omission.clips)
            clips = "clip" if count == 1 else "clips"
            lines.append(f"{system.label}, {omission.measure}: {count} {clips}: {omission.reason} ({shown})")
    return lines


def fewer_lines(report: Report) -> list[str]:
    """Columns that do not stand on all clips."""
    total = len(report.clips)
    return [
        f"{column.title}: {count} of {total} clips, those that every system in the column was scored on"
        for column, count in zip(report.columns, clip_counts(report).values(), strict=True)
        if count != total
    ]


def doubt_lines(report: Report) -> list[str]:
    """Systems whose delay is uncertain, because their waveforms do not match the recordings'."""
    return [
        f"{system.label}: its waveforms hardly match the recordings' (correlation "
        f"{system.correlation:.2f}), so its delay is uncertain, and STOI and SI-SDR with it; "
        "--align envelope finds the delay from the loudness instead"
        for system in report.systems
        if system.correlation is not None and system.correlation < WEAK_CORRELATION
    ]


def mark_lines(report: Report) -> list[str]:
    """The meaning of the asterisk in one sentence, and the models that do not list their losses."""
    titles = {column.name: column.title for column in report.columns}
    models: dict[str, list[str]] = {}
    for system in report.systems:
        shown = [
            f"{titles[n].removesuffix(' %')} ({', '.join(losses)})" for n, losses in system.marks.items()
        ]
        if shown and any(name in system.figures for name in system.marks):
            models[system.family] = shown
    for family, probes in report.probe_marks.items():
        for probe, losses in probes.items():
            models.setdefault(family, []).append(f"probe {probe} ({', '.join(losses)})")
    lines = []
    if models:
        named = "; ".join(f"{family}: {', '.join(shown)}" for family, shown in models.items())
        lines.append(
            f"{MARK} the figure resembles a loss that the model was trained with, and so flatters it: {named}"
        )
    untold = dict.fromkeys(system.family for system in report.systems if system.untold)
    lines += [
        f"{family}: no training.json lists the losses it was trained with, so none of its metrics is marked"
        for family in untold
    ]
    return lines


def _best(report: Report, column: Column) -> float | None:
    values = [
        system.figures[column.name].value
        for system in report.systems
        if column.name in system.figures and system.label != "original"
    ]
    if column.higher_is_better is None or len(values) < 2:
        return None
    return max(values) if column.higher_is_better else min(values)


def _cell(figure: Figure | None, column: Column, best: float | None, marked: bool) -> Cell:
    if figure is None:
        return Cell(ABSENT)

    def show(value: float) -> str:
        return f"{value * column.scale + 0.0:.{column.digits}f}"

    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f"{show(figure.low)}–{show(figure.high)}"
    return Cell(show(figure.value) + MARK * marked, interval, figure.value == best)
