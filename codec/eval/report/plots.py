"""Rate-quality curves and spectrograms, as PNG bytes."""

import io
from collections import defaultdict
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from codec.eval.measures.base import Column
from codec.eval.report.content import Report
from codec.eval.summary import SystemSummary
from codec.eval.types import SCORING_RATE

_COLOURS = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed", "#0891b2", "#65a30d", "#78716c")
_STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#94a3b8",
    "axes.labelcolor": "#334155",
    "xtick.color": "#475569",
    "ytick.color": "#475569",
    "grid.color": "#e2e8f0",
}
_PANEL_INCHES = (3.7, 3.0)
_PANELS_PER_ROW = 3
_DYNAMIC_RANGE_DB = 80.0
_WINDOW, _HOP = 512, 256


def rate_quality(report: Report) -> bytes | None:
    """One panel a column against kbps; ``None`` when no system has a rate and a figure."""
    coded = [s for s in report.systems if s.kbps and s.figures and s.label != "original"]
    columns = [c for c in report.columns if any(c.name in system.figures for system in coded)]
    if not columns:
        return None
    with mpl.rc_context(_STYLE):
        across = min(len(columns), _PANELS_PER_ROW)
        down = -(-len(columns) // across)
        canvas = Canvas(figsize=(_PANEL_INCHES[0] * across, _PANEL_INCHES[1] * down + 0.5))
        grid = canvas.subplots(down, across, squeeze=False)
        families = _families(coded)
        original = next((s for s in report.systems if s.label == "original"), None)
        for axes, column in zip(grid.flat, columns, strict=False):
            _panel(axes, column, families, original)
        for axes in grid.flat[len(columns) :]:
            axes.axis("off")
        handles, labels = grid.flat[0].get_legend_handles_labels()
        canvas.legend(handles, labels, loc="upper center", ncols=min(len(labels), 8), frameon=False)
        canvas.tight_layout(rect=(0, 0, 1, 1 - 0.4 / canvas.get_figheight()))
        return _png(canvas)


def spectrogram(wav: np.ndarray) -> np.ndarray:
    """Level ``(bins, frames)`` in dB of full scale, the highest frequency first."""
    import librosa

    spectrum = librosa.stft(wav, n_fft=_WINDOW, hop_length=_HOP)
    level = 20 * np.log10(np.abs(spectrum) * 4 / _WINDOW + 1e-9)
    return level[::-1]


def spectrogram_image(wav: np.ndarray) -> bytes:
    """A bare PNG, one pixel a bin and frame, for a page that draws its own frame."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    level = spectrogram(wav)
    imsave(buffer, level, vmin=-_DYNAMIC_RANGE_DB - 20, vmax=-20, cmap="magma", format="png")
    return buffer.getvalue()


def spectrogram_figure(outputs: dict[str, np.ndarray], title: str) -> bytes:
    """Original and systems below each other on one time and colour scale."""
    with mpl.rc_context(_STYLE):
        canvas = Canvas(figsize=(9.0, 1.5 * len(outputs) + 0.6))
        grid = canvas.subplots(len(outputs), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (label, wav) in zip(grid, outputs.items(), strict=True):
            axes.imshow(
                spectrogram(wav),
                aspect="auto",
                cmap="magma",
                vmin=-_DYNAMIC_RANGE_DB - 20,
                vmax=-20,
                extent=(0, len(wav) / SCORING_RATE, 0, SCORING_RATE / 2000),
            )
            axes.set_title(label, loc="left", fontsize=9, color="#334155")
            axes.set_ylabel("kHz")
        grid[-1].set_xlabel("seconds")
        canvas.suptitle(title, fontsize=10)
        canvas.tight_layout()
        return _png(canvas)


def _families(systems: list[SystemSummary]) -> dict[str, list[SystemSummary]]:
    families: dict[str, list[SystemSummary]] = defaultdict(list)
    for system in systems:
        families[system.family].append(system)
    return {name: sorted(members, key=lambda s: s.kbps or 0.0) for name, members in families.items()}


def _panel(
    axes: Axes, column: Column, families: dict[str, list[SystemSummary]], original: SystemSummary | None
) -> None:
    for index, (family, members) in enumerate(families.items()):
        points = [s for s in members if column.name in s.figures]
        values = [s.figures[column.name] for s in points]
        x = [s.kbps or 0.0 for s in points]
        y = np.array([f.value for f in values]) * column.scale
        colour = _COLOURS[index % len(_COLOURS)]
        marker = "os^Dv*"[index // len(_COLOURS) % 6]
        axes.plot(x, y, marker=marker, markersize=5, linewidth=1.6, color=colour, label=family)
        if values and all(f.low is not None for f in values):
            low = np.array([f.low for f in values]) * column.scale
            high = np.array([f.high for f in values]) * column.scale
            axes.vlines(x, low, high, color=colour, alpha=0.35, linewidth=2)
    if original and column.name in original.figures:
        _original_line(axes, original.figures[column.name].value * column.scale)
    _rate_axis(axes, [s.kbps for members in families.values() for s in members if s.kbps])
    arrow = {True: "higher is better", False: "lower is better", None: ""}[column.higher_is_better]
    axes.set_title(column.title, loc="left", fontweight="bold", fontsize=10, color="#0f172a")
    axes.set_title(arrow, loc="right", fontsize=8, color="#64748b")
    axes.set_xlabel("kbps")
    axes.grid(True, linewidth=0.8)
    axes.set_axisbelow(True)


def _original_line(axes: Axes, level: float) -> None:
    """A dotted line, unless it would squeeze the curves into a corner (SI-SDR's ceiling)."""
    low, high = axes.get_ylim()
    if not low - 1.5 * (high - low) < level < high + 1.5 * (high - low):
        return
    axes.axhline(level, color="#64748b", linestyle=":", linewidth=1)
    middle = sum(axes.get_ylim()) / 2
    axes.annotate(
        "original",
        (0, level),
        xycoords=("axes fraction", "data"),
        xytext=(4, -3 if level > middle else 3),
        textcoords="offset points",
        ha="left",
        va="top" if level > middle else "bottom",
        fontsize=8,
        color="#64748b",
    )


def _rate_axis(axes: Axes, rates: list[float]) -> None:
    """Logarithmic, with plain numbers at the rates of everyday use."""
    low, high = min(rates) / 1.25, max(rates) * 1.25
    ticks = [t for t in (0.25, 0.5, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256) if low <= t <= high]
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.minorticks_off()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])


def _png(canvas: Canvas) -> bytes:
    buffer = io.BytesIO()
    # Without the version stamp two runs write the same bytes.
    canvas.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()
