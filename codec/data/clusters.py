"""Cluster-balanced sampling: clips drawn so that rare kinds of audio count as much as frequent ones.

k-means on vectors of the clips finds the kinds (S-SONDO, arXiv 2604.24933). Each draw is a function of the
seed, the step and the slot, numbered over all processes, so that two processes with half the batch each see
what one process with the whole batch sees, and a resumed run what an uninterrupted one would.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.atomic import atomic_path
from codec.errors import CodecError


@dataclass(frozen=True)
class ClusterConfig:
    """How clips are balanced."""

    num_clusters: int = 50
    power: float = 1.0
    """A clip of a cluster of n is drawn in proportion to n^-power: 1 gives all clusters the same share,
    0 draws all clips alike."""
    min_size: int = 5
    """Smaller clusters are merged into the nearest of this size: a handful of clips is no kind of audio."""
    max_ratio: float = 20.0
    """A clip is drawn at most so many times as often as the clip that is drawn least."""
    spherical: bool = False
    """Cluster by direction, vectors scaled to length 1; by distance otherwise, as the paper does."""

    def __post_init__(self) -> None:
        if self.num_clusters < 1 or self.min_size < 1:
            raise CodecError("config clusters: num_clusters and min_size must be at least 1")
        if self.power < 0 or self.max_ratio < 1:
            raise CodecError("config clusters: power must be at least 0 and max_ratio at least 1")

    def check_size(self, clips: int) -> None:
        """Raise a :class:`CodecError` for more clusters than clips."""
        if self.num_clusters > clips:
            raise CodecError(
                f"config clusters.num_clusters: {self.num_clusters} clusters of {clips} clips; set fewer clusters "
                "or add data"
            )


def fit_clusters(vectors: np.ndarray, config: ClusterConfig, seed: int) -> np.ndarray:
    """Cluster of each of the vectors ``(N, D)``: ``(N,)`` int64, from 0 without gaps.

    MiniBatchKMeans of scikit-learn (Sculley 2010), then clusters of fewer than ``min_size`` merged.

    Raises:
        CodecError: with more clusters than vectors, vectors that are not finite, or without scikit-learn.
    """
    config.check_size(len(vectors))
    if not np.isfinite(vectors).all():
        raise CodecError("the teacher's vectors are not finite, so they cannot be clustered; extract them again")
    try:
        from sklearn.cluster import MiniBatchKMeans
    except ModuleNotFoundError:
        raise CodecError("clusters need the package scikit-learn; run: pip install scikit-learn") from None
    points = np.asarray(vectors, dtype=np.float64)
    if config.spherical:
        points = points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    means = MiniBatchKMeans(
        config.num_clusters, batch_size=10_000, n_init=10, reassignment_ratio=0.0, random_state=seed
    )
    return merge_small(points, means.fit_predict(points), config.min_size)


def merge_small(points: np.ndarray, labels: np.ndarray, min_size: int) -> np.ndarray:
    """Give the members of clusters below ``min_size`` to the nearest mean of one that is not; renumber.

    Where no cluster is large enough, the largest is kept.
    """
    names, counts = np.unique(labels, return_counts=True)
    kept = names[counts >= min(min_size, counts.max())]
    means = np.stack([points[labels == name].mean(axis=0) for name in kept])
    merged = labels.copy()
    for index in np.flatnonzero(~np.isin(labels, kept)):
        merged[index] = kept[np.square(means - points[index]).sum(axis=1).argmin()]
    return np.unique(merged, return_inverse=True)[1].astype(np.int64)


def cluster_weights(labels: np.ndarray, power: float, max_ratio: float) -> np.ndarray:
    """Probability of each clip, ``(N,)`` float64 of sum 1: ``n_c^-power`` for a clip of a cluster of n_c.

    No weight is more than ``max_ratio`` times the least.
    """
    counts = np.bincount(labels)
    weights = counts[labels].astype(np.float64) ** -power
    weights = np.minimum(weights, max_ratio * weights.min())
    return weights / weights.sum()


def effective_size(weights: np.ndarray) -> float:
    """``(sum w)^2 / sum w^2`` (Kish 1965): how many clips drawn alike would vary as much."""
    return float(weights.sum() ** 2 / np.square(weights).sum())


class WeightedDraws:
    """Independent draws with replacement by fixed weights."""

    def __init__(self, weights: np.ndarray, seed: int):
        self._cumulative, self._seed = np.cumsum(weights), seed

    def draw(self, step: int, slot: int) -> tuple[int, float]:
        """Index of a clip, and a uniform number in [0, 1) for a place in it."""
        # Philox is a function of key and counter: no stream to fast-forward on resume.
        bits = np.random.Philox(key=self._seed, counter=[0, 0, slot, step])
        clip, place = np.random.Generator(bits).random(2)
        index = int(np.searchsorted(self._cumulative, clip * self._cumulative[-1], side="right"))
        return min(index, len(self._cumulative) - 1), float(place)


def write_clusters(path: Path, names: list[str], labels: np.ndarray) -> None:
    """A table ``id,cluster``, written in one step."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "cluster"])
        rows.writerows(zip(names, labels.tolist(), strict=True))


def read_clusters(path: Path, names: list[str]) -> np.ndarray:
    """Cluster of each of the named clips, from a table ``id,cluster``.

    Raises:
        CodecError: for a file that is missing or malformed, or lacks a clip.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = {row["id"]: int(row["cluster"]) for row in csv.DictReader(file)}
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise CodecError(f"{path}: cannot be read as a table id,cluster ({error})") from None
    missing = [name for name in names if name not in table]
    if missing:
        raise CodecError(f"{path}: {len(missing)} clips have no cluster (first: {missing[0]}); make the table again")
    return np.unique([table[name] for name in names], return_inverse=True)[1].astype(np.int64)
