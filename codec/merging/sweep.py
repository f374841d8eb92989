"""A merge for each value of alpha, or of lambda between two models, and what each costs and gains."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from codec.atomic import atomic_path
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.measures import MetricSettings, build_measures
from codec.eval.quick import score
from codec.eval.training import Training
from codec.merging.codecs import CodecSource
from codec.merging.config import SweepConfig, sweep_values
from codec.merging.merge import Family
from codec.merging.tokens import compare_tokens, encode_clips

FILE = "sweep.json"
TOKENS = {
    "tokens_first": "tokens of RVQ-1 that are the base's",
    "tokens_all": "tokens that are the base's",
    "tokens_frames": "frames with all tokens the base's",
}


@dataclass(frozen=True)
class Point:
    """One merge.

    Attributes:
        value: alpha, or lambda of the first model.
        weights: lambda of each branch.
        figures: by name: those of :data:`TOKENS`, and columns of the measures.
        layers: share of tokens that are the base's, of each codebook.
    """

    value: float
    weights: list[float]
    figures: dict[str, float]
    layers: list[float]


@dataclass(frozen=True)
class Sweep:
    """Content of ``sweep.json``.

    Attributes:
        of: what the values are.
        titles: of the figures, by name.
        better: whether a higher figure is better, by name; ``None`` where neither is.
        points: in the order of the values.
        clips: how many were measured on.
        marked: losses that a figure resembles, by the figure's name, of those that the models tell.
        silent: models that do not tell their losses, and so mark nothing.
    """

    of: str
    titles: dict[str, str]
    better: dict[str, bool | None]
    points: list[Point]
    clips: int
    marked: dict[str, list[str]] = field(default_factory=dict)
    silent: list[str] = field(default_factory=list)


class Sweeper:
    """Measures merges of one family; what is wrong with the settings is found while it is built."""

    def __init__(self, family: Family, config: SweepConfig, clips: Sequence[Clip]):
        """
        Raises:
            CodecError: for an unknown measure or figure, or models without tokens.
        """
        self.family, self.config, self.clips = family, config, clips
        self.base = family.codec
        self._settings = MetricSettings(config.asr, config.speaker_model, config.tag_model)
        measures = build_measures(list(config.measures), self._settings)
        columns = [column for measure in measures for column in measure.columns]
        self.titles = TOKENS | {column.name: column.title for column in columns}
        self.better: dict[str, bool | None] = {
            **dict.fromkeys(TOKENS, True),
            **{column.name: column.higher_is_better for column in columns},
        }
        self._scales = {column.name: column.scale for column in columns}
        known = {s.name: s.training for s in (family.base, *family.branches) if isinstance(s, CodecSource)}
        self.silent = [name for name, training in known.items() if training is None]
        self.marked = {
            column.name: losses
            for measure in measures
            for column in measure.columns
            if (losses := _losses_like(measure.resembles, known.values()))
        }
        for axis, name in (("x", config.x), ("y", config.y)):
            if name not in self.titles:
                raise CodecError(
                    f"config sweep.{axis}: no figure {name!r} is measured; there are {', '.join(self.titles)} "
                    "(sweep.measures brings more)"
                )

    def run(self, progress: Callable[[Point], None] = lambda point: None) -> Sweep:
        """Merge and measure for every value."""
        # Once, not once a value.
        tokens = encode_clips(self.base, self.clips)
        points = []
        for value in sweep_values(self.config.values):
            weights = weights_at(value, self.config.of, len(self.family.branches))
            model = self.family.model(weights)
            same = compare_tokens(tokens, encode_clips(model, self.clips))
            figures = {"tokens_first": same.first, "tokens_all": same.all, "tokens_frames": same.frames}
            if self.config.measures:
                figures |= score(model, self.clips, self.config.measures, settings=self._settings)
            known = {name: self._scales.get(name, 1.0) * figures[name] for name in self.titles if name in figures}
            points.append(Point(value, weights, known, same.layers))
            progress(points[-1])
        return Sweep(
            self.config.of, self.titles, self.better, points, len(self.clips), self.marked, self.silent
        )


def weights_at(value: float, of: str, count: int) -> list[float]:
    """Lambda of each of ``count`` models at a value of the sweep."""
    return [value, 1.0 - value] if of == "trade" else [value / count] * count


def mark_notes(sweep: Sweep) -> list[str]:
    """What a reader of the figures has to know of the models' training; one line each."""
    notes = [
        f"{name} resembles a loss that a model was trained with ({', '.join(losses)}), which flatters it"
        for name, losses in sweep.marked.items()
    ]
    if sweep.silent:
        notes.append(
            f"no training.json tells the losses of {', '.join(sweep.silent)}; nothing is marked for them"
        )
    return notes


def _losses_like(resembles: Sequence[str], known: Iterable[Training | None]) -> list[str]:
    return list(dict.fromkeys(loss for training in known if training for loss in training.like(resembles)))


def write_sweep(sweep: Sweep, folder: Path) -> None:
    """Write ``sweep.json``."""
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(sweep), indent=2) + "\n", encoding="utf-8")


def sweep_rows(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """Headings and cells of the sweep as a table."""
    names = [name for name in sweep.titles if any(name in point.figures for point in sweep.points)]
    headings = ["alpha" if sweep.of == "alpha" else "lambda of the first", *names]
    rows = [
        [f"{point.value:g}", *(f"{point.figures[n]:.3f}" if n in point.figures else "-" for n in names)]
        for point in sweep.points
    ]
    return headings, rows
