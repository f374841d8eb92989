"""Learning curves of one run, or of several that follow each other, as a PNG.

``python recipes/plot_log.py logs="[runs/a/log.jsonl, runs/b/log.jsonl]" output=curves.png``
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from codec.cli.recipe import run_recipe
from codec.errors import CodecError

# Of a record, but no losses.
_OTHER = {"step", "time", "total", "grad_norm", "hours_per_hour"}
_COLUMNS = 4


@dataclass(frozen=True)
class PlotConfig:
    """Settings of the plot."""

    logs: tuple[str, ...]
    """log.jsonl of the runs, in order; steps are counted on from run to run."""
    output: str
    smoothing: int = 5
    """Records that are averaged."""


def read_log(path: Path) -> list[dict[str, float]]:
    """Records of a run's log; a step that was repeated after a resume counts once, the last time.

    Raises:
        CodecError: when there is no such log, or nothing in it.
    """
    if not path.is_file():
        raise CodecError(f"{path}: no such log; training writes log.jsonl into its output folder")
    records = {record["step"]: record for record in map(json.loads, path.read_text().splitlines())}
    if not records:
        raise CodecError(f"{path}: the log is empty")
    return [records[step] for step in sorted(records)]


def smooth(values: list[float], width: int) -> np.ndarray:
    """Mean over ``width`` neighbours, fewer at the ends."""
    kernel = np.ones(min(width, len(values)))
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def main(config: PlotConfig) -> None:
    """Draw every loss over the steps, and the codebooks' perplexity."""
    runs = [read_log(Path(path)) for path in config.logs]
    offsets = np.cumsum([0] + [run[-1]["step"] for run in runs[:-1]])
    names = {name: None for run in runs for name in run[-1] if name not in _OTHER}
    losses = [name for name in names if "/" not in name]
    rows = -(-(len(losses) + 1) // _COLUMNS)
    figure, grid = plt.subplots(rows, _COLUMNS, figsize=(3.4 * _COLUMNS, 2.6 * rows), squeeze=False)
    axes = grid.flat[: len(losses) + 1]
    for unused in grid.flat[len(losses) + 1 :]:
        unused.remove()
    for run, offset in zip(runs, offsets, strict=True):
        steps = np.array([record["step"] for record in run]) + offset
        for axis, name in zip(axes, losses, strict=False):
            if name in run[-1]:
                values = [record.get(name, np.nan) for record in run]
                axis.plot(steps, smooth(values, config.smoothing), linewidth=1.2)
                axis.set_title(name)
        for layer, name in enumerate(n for n in names if n.startswith("perplexity/")):
            values = [record.get(name, np.nan) for record in run]
            axes[len(losses)].plot(steps, values, linewidth=1, color=plt.cm.viridis(layer / 8))
    axes[len(losses)].set_title("codebook perplexity (dark: first)")
    for axis in axes:
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(config.output, dpi=90)


if __name__ == "__main__":
    sys.exit(run_recipe(PlotConfig, main, __doc__))
