"""Confidence intervals over speakers, and mutual information of counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from codec.eval.statistics import bootstrap, group_indices, multinomial

FEW_SPEAKERS = 10
"""Below this the bootstrap is known to give intervals that are too narrow; results say so."""


@dataclass(frozen=True)
class ProbeInterval:
    """A 95 % confidence interval, and how many of what it was drawn from."""

    low: float | None
    high: float | None
    units: int
    unit: str


def speaker_interval(
    counts: np.ndarray,
    speakers: Sequence[str],
    statistic: Callable[[np.ndarray], float],
    seed: int,
    recentre: bool = False,
) -> ProbeInterval:
    """:func:`codec.eval.statistics.bootstrap` of summed counts, over speakers.

    With one speaker only, clips are drawn instead; with one clip there is no interval.

    Args:
        counts: ``(N, ...)``, one entry per clip, such that sums over clips are meaningful.
        speakers: of each of the N clips.
        statistic: a function of the summed counts ``(...)``; NaN where it is not defined.
        recentre: as for the bootstrap.
    """
    units, owner = group_indices(speakers)
    unit = "speaker" if units > 1 else "clip"
    groups = np.stack([counts[owner == i].sum(axis=0) for i in range(units)]) if units > 1 else np.asarray(counts)

    def of_draws(draws: np.ndarray) -> np.ndarray:
        return np.array([statistic(np.tensordot(draw, groups, axes=1)) for draw in draws])

    low, high = bootstrap(of_draws, len(groups), seed, multinomial, recentre)
    return ProbeInterval(low, high, len(groups), unit)


def few_speakers_note(speakers: Sequence[str]) -> list[str]:
    """A warning, as a list of none or one, when the intervals rest on few speakers."""
    count = len(set(speakers))
    if count >= FEW_SPEAKERS:
        return []
    if count == 1:
        return ["one speaker only: intervals over clips say nothing about other speakers"]
    return [f"{count} speakers only: bootstrap intervals over so few are too narrow"]


def ratio(counts: np.ndarray) -> float:
    """``counts[0] / counts[1]``, e.g. correct by all, or errors by words."""
    return float(counts[0] / counts[1]) if counts[1] else float("nan")


def mean_of_ratios(counts: np.ndarray) -> float:
    """Balanced accuracy: mean over classes of correct by all, ``counts (classes, 2)``."""
    seen = counts[:, 1] > 0
    return float((counts[seen, 0] / counts[seen, 1]).mean()) if seen.any() else float("nan")


def joint_counts(rows: np.ndarray, columns: np.ndarray, owner: np.ndarray, owners: int) -> np.ndarray:
    """Counts of each pair of values, ``(owners, A, B)``, by clip (``owner`` 0 to owners - 1)."""
    row_values, row_index = np.unique(rows, return_inverse=True)
    column_values, column_index = np.unique(columns, return_inverse=True)
    shape = (owners, len(row_values), len(column_values))
    flat = np.ravel_multi_index((owner, row_index, column_index), shape)
    return np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape).astype(np.int32)


def entropy(counts: np.ndarray) -> float:
    """Entropy in bits of the distribution that ``counts`` estimate."""
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def mutual_information(joint: np.ndarray) -> float:
    """Plug-in estimate in bits from joint counts ``(A, B)``; biased upwards in small samples."""
    information = entropy(joint.sum(axis=0)) + entropy(joint.sum(axis=1)) - entropy(joint)
    return max(information, 0.0)


def pnmi(joint: np.ndarray) -> float:
    """Phone-normalised mutual information I(phone; code) / H(phone) of ``joint (phones, codes)``.

    HuBERT (Hsu et al. 2021, section IV-D): the share of uncertainty about the phone that the
    code removes. NaN when only one phone occurs.
    """
    if not joint.any():
        return float("nan")
    uncertainty = entropy(joint.sum(axis=1))
    return mutual_information(joint) / uncertainty if uncertainty > 0 else float("nan")
