"""Learning curves of masked pre-trainings, several seeds of each kind, as a PNG.

``python recipes/plot_pretraining.py runs="{MATPAC: [runs/a, runs/b], MATPAC++: [runs/c, runs/d]}" output=curves.png``
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

PANELS = {
    "held-out distance, of that of position means": (
        *("held_out/prediction", "held_out/averaged", "held_out/other_context"),
    ),
    "classes that the teacher uses": ("classes/used",),
    "student's first class is the teacher's": ("agreement",),
    "spread of targets": ("spread/target",),
}
"""Title and tags of each panel; distances are divided by the baseline."""
BASELINE = "held_out/position_mean"
_STYLES = ("-", "--", ":")


@dataclass(frozen=True)
class PlotConfig:
    """Settings of the plot."""

    runs: dict[str, tuple[str, ...]]
    """Output folders of the runs, by the name of their kind."""
    output: str


def read_curve(folder: str, tag: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of a tag, ``(n,)`` each; those of ``held_out`` are divided by the baseline.

    Raises:
        CodecError: for a folder without a log.
    """
    path = Path(folder) / "log.jsonl"
    if not path.is_file():
        raise CodecError(f"{path}: no such log; training writes log.jsonl into its output folder")
    records = [json.loads(line) for line in path.read_text().splitlines()]
    found = {record["step"]: record for record in records if tag in record}
    held_out = tag.startswith("held_out/")
    values = [record[tag] / record[BASELINE] if held_out else record[tag] for record in found.values()]
    return np.array(list(found)), np.array(values)


def main(config: PlotConfig) -> None:
    """One panel for each sign: a line for each run, a colour for each kind."""
    figure, axes = plt.subplots(1, len(PANELS), figsize=(3.4 * len(PANELS), 2.8), squeeze=False)
    for axis, (title, tags) in zip(axes[0], PANELS.items(), strict=True):
        for color, (kind, folders) in enumerate(config.runs.items()):
            for tag, style in zip(tags, _STYLES, strict=False):
                for number, folder in enumerate(folders):
                    label = f"{kind} {tag.partition('/')[2]}" if number == 0 and len(tags) > 1 else None
                    label = kind if number == 0 and len(tags) == 1 else label
                    axis.plot(*read_curve(folder, tag), style, color=f"C{color}", linewidth=1, label=label)
        axis.set_title(title, fontsize=8)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_ylim(0, 2 if title.startswith("held-out") else None)
        axis.grid(alpha=0.3)
    axes[0][0].axhline(1, color="black", linewidth=0.8)
    for axis in axes[0][:2]:
        axis.legend(fontsize=6)
    figure.tight_layout()
    figure.savefig(config.output, dpi=90)


if __name__ == "__main__":
    sys.exit(run_recipe(PlotConfig, main, __doc__))
