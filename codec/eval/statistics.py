"""Means with confidence intervals."""

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


def bootstrap_weights(groups: Sequence[str], seed: int, draws: int = DRAWS) -> np.ndarray:
    """Weight of each clip in each draw of speakers with replacement.

    Clips of one speaker are not independent (Bisani and Ney 2004 draw whole speakers for WER).

    Args:
        groups: ``(N,)`` speaker of each clip.
        seed: of the draws.
        draws: B.

    Returns:
        ``(B, N)`` float.
    """
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(names), size=(draws, len(names)))
    counts = np.stack([(drawn == speaker).sum(axis=1) for speaker in range(len(names))], axis=1)
    return counts[:, index].astype(np.float64)


def interval(
    pool: Callable[[np.ndarray], np.ndarray], groups: Sequence[str], seed: int
) -> tuple[float | None, float | None]:
    """95 % percentile interval of ``pool(weights (B, N)) -> (B,)`` over draws of speakers."""
    if len(set(groups)) < 2:
        return None, None
    low, high = np.percentile(pool(bootstrap_weights(groups, seed)), [2.5, 97.5])
    return float(low), float(high)
