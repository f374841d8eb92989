"""``frontier.png`` of a comparison: one score against another, a point for each row, lines from the start."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from codec.atomic import atomic_path
from codec.compare.config import CompareConfig
from codec.compare.summary import Estimate, Summary

_PLACES = ((8, 5), (-8, 5), (8, -6), (-8, -6))
"""Of the numbers of points, in turn, since some points are close together."""
_ARROWS = {"higher": " →", "lower": " ←", "neither": ""}


def write_frontier(config: CompareConfig, summary: Summary) -> None:
    """Draw the two scores that the config names; nothing until both are measured."""
    if not config.frontier or any(key not in summary.scores for key in config.frontier):
        return
    figure, axes = plt.subplots(figsize=(8.5, 5.0))
    points = {
        row.name: (row.estimates[config.frontier[0]], row.estimates[config.frontier[1]])
        for row in summary.variants
        if all(key in row.estimates for key in config.frontier)
    }
    scales = [summary.scores[key].scale for key in config.frontier]
    for number, (name, pair) in enumerate(points.items(), start=1):
        _point(axes, f"{number}", name, pair, scales, merged=name not in config.variants)
    for names in lines(config):
        line = [points[name] for name in names if name in points]
        if len(line) > 1:
            axes.plot(*([pair[i].mean * scales[i] for pair in line] for i in (0, 1)), color="0.7", zorder=0)
    titles = [summary.scores[key].title + _ARROWS[summary.scores[key].better] for key in config.frontier]
    axes.set_xlabel(titles[0])
    axes.set_ylabel(titles[1])
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, handlelength=0.5)
    figure.tight_layout()
    with atomic_path(Path(config.output) / "frontier.png") as temporary:
        figure.savefig(temporary, dpi=100, metadata={"Software": None})
    plt.close(figure)


def lines(config: CompareConfig) -> list[list[str]]:
    """Rows that follow one another on the way from the start, where lambdas are 0, in one direction.

    Those are merges whose lambdas differ by a factor, and the variant itself at the end where it is the only one.
    Merges with permuted channels go nowhere.
    """
    starts = [name for name, (_, weights) in config.merge_rows.items() if not any(weights)]
    rays: dict[tuple[object, ...], list[tuple[float, str]]] = {}
    for name, (settings, weights) in config.merge_rows.items():
        length = sum(abs(weight) for weight in weights)
        if length and not settings.permuted:
            shares = tuple(round(weight / length, 6) for weight in weights)
            whole = [(1.0, settings.of[0])] if len(settings.of) == 1 else []
            rays.setdefault((settings.of, shares, settings.method), whole).append((length, name))
    return [starts[:1] + [name for _, name in sorted(ray)] for ray in rays.values()]


def _point(
    axes: plt.Axes, number: str, name: str, pair: tuple[Estimate, Estimate], scales: list[float], merged: bool
) -> None:
    """The mean over seeds, each seed in pale, and a number that the legend explains: names would cover each other."""
    color = "tab:blue" if merged else "tab:orange"
    known = list(zip(pair, scales, strict=True))
    seeds = ([one.values[seed] * scale for seed in pair[0].values] for one, scale in known)
    axes.plot(*seeds, ".", color=color, alpha=0.4)
    mean = (known[0][0].mean * scales[0], known[1][0].mean * scales[1])
    axes.plot(*mean, "o", color=color, label=f"{number}  {name}")
    place = _PLACES[int(number) % len(_PLACES)]
    axes.annotate(number, mean, xytext=place, textcoords="offset points", fontsize=8, ha="center", va="center")
