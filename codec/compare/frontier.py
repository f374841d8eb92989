"""``frontier.png`` of a comparison: one score against another, a point for each row, lines through merges."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from codec.atomic import atomic_path
from codec.compare.config import CompareConfig
from codec.compare.summary import Estimate, Summary

_ARROWS = {"higher": " →", "lower": " ←", "neither": ""}


def write_frontier(config: CompareConfig, summary: Summary) -> None:
    """Draw the two scores that the config names; nothing until both are measured."""
    if not config.frontier or any(key not in summary.scores for key in config.frontier):
        return
    figure, axes = plt.subplots(figsize=(7.0, 5.0))
    points = {
        row.name: (row.estimates[config.frontier[0]], row.estimates[config.frontier[1]])
        for row in summary.variants
        if all(key in row.estimates for key in config.frontier)
    }
    scales = [summary.scores[key].scale for key in config.frontier]
    for name, pair in points.items():
        _point(axes, name, pair, scales, merged=name not in config.variants)
    for merge in config.merges:
        # In the order of the config: along alpha, or along the lambdas.
        rows = [name for name, (settings, _) in config.merge_rows.items() if settings is config.merges[merge]]
        line = [points[name] for name in rows if name in points]
        if len(line) > 1:
            axes.plot(*([pair[i].mean * scales[i] for pair in line] for i in (0, 1)), color="0.7", zorder=0)
    titles = [summary.scores[key].title + _ARROWS[summary.scores[key].better] for key in config.frontier]
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    axes.grid(alpha=0.3)
    figure.tight_layout()
    with atomic_path(Path(config.output) / "frontier.png") as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None})
    plt.close(figure)


def _point(axes: plt.Axes, name: str, pair: tuple[Estimate, Estimate], scales: list[float], merged: bool) -> None:
    """The mean over seeds, each seed in pale, and the row's name."""
    color = "tab:blue" if merged else "tab:orange"
    known = list(zip(pair, scales, strict=True))
    seeds = ([one.values[seed] * scale for seed in pair[0].values] for one, scale in known)
    axes.plot(*seeds, ".", color=color, alpha=0.4)
    mean = (known[0][0].mean * scales[0], known[1][0].mean * scales[1])
    axes.plot(*mean, "o", color=color)
    axes.annotate(name, mean, xytext=(5, 4), textcoords="offset points", fontsize=8)
