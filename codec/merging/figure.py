"""``frontier.png`` of a sweep: two figures against each other, a point for each merge."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from codec.atomic import atomic_path
from codec.merging.sweep import Point, Sweep

FILE = "frontier.png"


def write_frontier(sweep: Sweep, x: str, y: str, folder: Path) -> None:
    """Draw the figures ``x`` and ``y`` of every point that has both; nothing when none has."""
    points = [point for point in sweep.points if x in point.figures and y in point.figures]
    if not points:
        return
    canvas = Canvas(figsize=(5.2, 4.0))
    axes = canvas.subplots()
    _draw(axes, points, best(sweep, points, x, y), x, y)
    for name, set_label in ((x, axes.set_xlabel), (y, axes.set_ylabel)):
        arrow = {True: " (higher is better)", False: " (lower is better)", None: ""}[sweep.better[name]]
        set_label(sweep.titles[name] + arrow)
    canvas.tight_layout()
    with atomic_path(folder / FILE) as temporary:
        # Without the version stamp two runs write the same bytes.
        canvas.savefig(temporary, format="png", dpi=110, metadata={"Software": None})


def best(sweep: Sweep, points: list[Point], x: str, y: str) -> list[Point]:
    """The frontier: points that no other one equals in both figures and beats in one."""

    def rank(point: Point, name: str) -> float:
        return point.figures[name] * (-1 if sweep.better[name] is False else 1)

    def beaten(point: Point) -> bool:
        mine = rank(point, x), rank(point, y)
        others = [(rank(other, x), rank(other, y)) for other in points]
        return any(a >= mine[0] and b >= mine[1] and (a, b) != mine for a, b in others)

    return [point for point in points if not beaten(point)]


def _draw(axes: Axes, points: list[Point], frontier: list[Point], x: str, y: str) -> None:
    axes.plot([p.figures[x] for p in points], [p.figures[y] for p in points], color="#94a3b8", linewidth=1)
    for group, colour, label in (
        ([p for p in points if p not in frontier], "#94a3b8", "another point is better in both"),
        (frontier, "#2563eb", "frontier"),
    ):
        if group:
            axes.plot(
                [p.figures[x] for p in group], [p.figures[y] for p in group], "o", color=colour, label=label
            )
    for point in points:
        place = point.figures[x], point.figures[y]
        axes.annotate(f"{point.value:g}", place, xytext=(4, 4), textcoords="offset points", fontsize=8)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
