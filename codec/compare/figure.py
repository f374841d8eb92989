"""``figure.png`` of a comparison: a panel for each score, a point with its interval for each variant."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from codec.atomic import atomic_path
from codec.compare.config import CompareConfig
from codec.compare.report import choose
from codec.compare.summary import Estimate, Summary

_COLUMNS = 4


def write_figure(config: CompareConfig, summary: Summary) -> None:
    """Draw what is scored so far; nothing when nothing is."""
    keys = choose(list(summary.scores), config.figure)
    if not keys:
        return
    columns = min(_COLUMNS, len(keys))
    rows = -(-len(keys) // columns)
    height = 0.9 + 0.32 * len(summary.variants)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, height * rows), squeeze=False)
    for axis, key in zip(axes.flat, keys, strict=False):
        _panel(axis, summary, key)
    for axis in axes.flat[len(keys) :]:
        axis.set_axis_off()
    figure.tight_layout()
    with atomic_path(Path(config.output) / "figure.png") as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _panel(axis: plt.Axes, summary: Summary, key: str) -> None:
    score = summary.scores[key]
    for row, variant in enumerate(summary.variants):
        if key in variant.estimates:
            _point(axis, row, variant.estimates[key], score.scale, variant.name == summary.control)
    arrow = {"higher": " →", "lower": " ←", "neither": ""}[score.better]
    axis.set_title(score.title + arrow, fontsize=9)
    axis.set_yticks(range(len(summary.variants)), [variant.name for variant in summary.variants], fontsize=8)
    axis.set_ylim(len(summary.variants) - 0.5, -0.5)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", alpha=0.3)


def _point(axis: plt.Axes, row: int, estimate: Estimate, scale: float, control: bool) -> None:
    color = "tab:orange" if control else "tab:blue"
    if estimate.low is not None and estimate.high is not None:
        style = "-" if estimate.interval == "seeds" else ":"
        axis.plot(
            [estimate.low * scale, estimate.high * scale], [row, row], style, color=color, linewidth=1.6
        )
    values = [value * scale for value in estimate.values.values()]
    axis.plot(values, [row] * len(values), ".", color=color, alpha=0.4, markersize=5)
    axis.plot(estimate.mean * scale, row, "o", color=color, markersize=5)
    if control:
        axis.axvline(estimate.mean * scale, color=color, alpha=0.4, linewidth=0.8)
