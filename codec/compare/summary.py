"""Means of variants from the scores of runs, with 95 % intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy import stats

from codec.compare.config import CompareConfig
from codec.compare.plan import Trial
from codec.compare.score import Score

Scores = Mapping[str, Score]


@dataclass(frozen=True)
class Estimate:
    """A figure of a variant, or of its difference from the control.

    Attributes:
        mean: over seeds.
        low: lower end of the 95 % interval; ``None`` without one.
        high: upper end.
        interval: ``seeds`` (Student's t over two or more seeds), ``clips`` (one seed: the bootstrap over
            speakers or clips) or ``none``.
        values: by seed.
    """

    mean: float
    low: float | None
    high: float | None
    interval: Literal["seeds", "clips", "none"]
    values: dict[int, float]


@dataclass(frozen=True)
class VariantSummary:
    """A row of the table.

    Attributes:
        seeds: that are trained and scored.
        planned: how many there will be.
        estimates: by score key.
        differences: from the control, over the seeds that both have; empty for the control itself.
        marks: by score key, losses of the variant that the score resembles.
    """

    name: str
    seeds: list[int]
    planned: int
    estimates: dict[str, Estimate]
    differences: dict[str, Estimate] = field(default_factory=dict)
    marks: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """All rows; ``scores`` has one score of each key, for titles and digits."""

    variants: list[VariantSummary]
    scores: dict[str, Score]
    control: str | None


def summarize_runs(config: CompareConfig, scored: Sequence[tuple[Trial, Sequence[Score]]]) -> Summary:
    """Means over seeds of all that has been scored so far."""
    by_variant: dict[str, dict[int, Scores]] = {variant: {} for variant in config.names}
    for run, scores in scored:
        by_variant[run.variant][run.seed] = {score.key: score for score in scores}
    known = {score.key: score for _, scores in scored for score in scores}
    control = by_variant[config.control] if config.control is not None else {}
    variants = []
    for name, by_seed in by_variant.items():
        estimates = {key: estimate for key in known if (estimate := _estimate(by_seed, key)) is not None}
        differences = {}
        if name != config.control:
            found = {key: _difference(by_seed, control, key) for key in known}
            differences = {key: estimate for key, estimate in found.items() if estimate is not None}
        planned = len(config.seeds_of(name))
        variants.append(VariantSummary(name, sorted(by_seed), planned, estimates, differences, _marks(by_seed)))
    return Summary(variants, known, config.control)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of the mean of two or more values by Student's t."""
    array = np.asarray(values, dtype=np.float64)
    half = stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / np.sqrt(len(array))
    return float(array.mean() - half), float(array.mean() + half)


def _marks(by_seed: Mapping[int, Scores]) -> dict[str, list[str]]:
    scores = [score for scores in by_seed.values() for score in scores.values()]
    return {score.key: score.marks for score in scores if score.marks}


def _estimate(by_seed: Mapping[int, Scores], key: str) -> Estimate | None:
    found = {seed: by_seed[seed][key] for seed in sorted(by_seed) if key in by_seed[seed]}
    if len(found) == 1:
        (seed, score), *_ = found.items()
        kind: Literal["none", "clips"] = "none" if score.low is None else "clips"
        return Estimate(score.value, score.low, score.high, kind, {seed: score.value})
    return _over_seeds({seed: score.value for seed, score in found.items()})


def _difference(ours: Mapping[int, Scores], control: Mapping[int, Scores], key: str) -> Estimate | None:
    seeds = [seed for seed in sorted(ours) if key in ours[seed] and key in control.get(seed, {})]
    return _over_seeds({seed: ours[seed][key].value - control[seed][key].value for seed in seeds})


def _over_seeds(values: dict[int, float]) -> Estimate | None:
    if not values:
        return None
    mean = float(np.mean(list(values.values())))
    if len(values) == 1:
        return Estimate(mean, None, None, "none", values)
    low, high = t_interval(list(values.values()))
    return Estimate(mean, low, high, "seeds", values)
