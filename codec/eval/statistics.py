"""Figures with confidence intervals: one bootstrap for measures and probes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 1000


@dataclass(frozen=True)
class Figure:
    """A pooled value.

    Attributes:
        value: over all clips.
        low: 2.5 % quantile of the bootstrap; ``None`` with fewer than two speakers.
        high: 97.5 % quantile.
        clips: how many clips it stands on.
        own_value: over every clip that this system was scored on, when those are more.
        own_clips: how many those are.
    """

    value: float
    low: float | None
    high: float | None
    clips: int
    own_value: float
    own_clips: int


def by_index(rng: np.random.Generator, groups: int) -> np.ndarray:
    """``(DRAWS, groups)``: how often each group was drawn, as indices with replacement.

    This and :func:`multinomial` follow the same law with other random numbers. Measures keep this one and
    probes the other, so that their published intervals stay reproducible.
    """
    drawn = rng.integers(groups, size=(DRAWS, groups))
    return np.stack([(drawn == group).sum(axis=1) for group in range(groups)], axis=1)


def multinomial(rng: np.random.Generator, groups: int) -> np.ndarray:
    """``(DRAWS, groups)``: how often each group was drawn, by numpy's multinomial distribution."""
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=DRAWS)


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    groups: int,
    seed: int,
    draw: Callable[[np.random.Generator, int], np.ndarray] = by_index,
    recentre: bool = False,
) -> tuple[float | None, float | None]:
    """95 % percentile interval over draws of whole groups (Efron and Tibshirani 1993, ch. 13).

    A group is all clips of one speaker: these are not independent (Bisani and Ney 2004 draw whole speakers
    for WER). With fewer than two groups there is no interval.

    Args:
        statistic: of how often each group counts, ``(B, groups)`` to ``(B,)``; NaN where it is not defined,
            and such draws are skipped.
        groups: how many there are.
        seed: of the draws.
        draw: how they are made.
        recentre: move the interval by the bootstrap's estimate of bias, for statistics such as plug-in
            mutual information that grow when a resample repeats data.

    Returns:
        both ends, or ``None`` twice.
    """
    if groups < 2:
        return None, None
    values = statistic(draw(np.random.default_rng(seed), groups))
    values = values[np.isfinite(values)]
    if not len(values):
        return None, None
    shift = statistic(np.ones((1, groups), dtype=int))[0] - values.mean() if recentre else 0.0
    low, high = np.quantile(values, [0.025, 0.975]) + shift
    return float(low), float(high)


def group_indices(speakers: Sequence[str]) -> tuple[int, np.ndarray]:
    """How many speakers there are, and the number of each clip's, ``(N,)``, in order of their names."""
    names, index = np.unique(np.asarray(speakers), return_inverse=True)
    return len(names), index
