"""Distance of two pieces of speech: dynamic time warping over angles between frames."""

from collections.abc import Sequence

import numpy as np

_BATCH = 1024
"""Pairs that are warped at once."""
_DIGITS = 12
"""Decimals kept: rounding must not decide between equal distances."""
_TIE = 1e-9
"""Paths whose costs differ by less cost the same: sums of the same angles in another order are not equal to the bit."""


def pair_distances(items: Sequence[np.ndarray], pairs: np.ndarray) -> np.ndarray:
    """Distance of each pair of items, 0 to 1.

    Args:
        items: frames ``(T, D)`` of each, T > 0.
        pairs: ``(P, 2)`` indices into ``items``.

    Returns:
        ``(P,)``: mean angle, in half turns, along the cheapest path (see :func:`warp`).
    """
    units = [_normalise(frames) for frames in items]
    # Pairs of like size together, since a batch is as large as its largest.
    order = np.argsort([len(items[a]) * len(items[b]) for a, b in pairs], kind="stable")
    found = np.empty(len(pairs))
    for start in range(0, len(pairs), _BATCH):
        batch = order[start : start + _BATCH]
        rows, columns = (np.array([len(items[i]) for i in pairs[batch, side]]) for side in (0, 1))
        angles = np.zeros((len(batch), rows.max(), columns.max()))
        for index, (a, b) in enumerate(pairs[batch]):
            angles[index, : rows[index], : columns[index]] = _angles(units[a], units[b])
        found[batch] = warp(angles, rows, columns)
    return found


def angular(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles ``(N, M)`` between the frames of ``(N, D)`` and ``(M, D)``, in half turns: 0 to 1.

    A frame of zeros has no direction: its angle with any other is .5, but 0 with another of zeros.
    """
    return _angles(_normalise(first), _normalise(second))


def warp(distances: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Mean distance along the cheapest path from corner to corner.

    Steps go one frame ahead in either or both items (Sakoe and Chiba 1978). Of paths that cost the same
    the shortest counts, so that the order of the two items makes no difference.

    Args:
        distances: ``(P, N, M)`` between frames, padded.
        rows: ``(P,)`` frames of the first item of each pair.
        columns: ``(P,)`` of the second.

    Returns:
        ``(P,)``
    """
    pairs, height, width = distances.shape
    cost = np.full((height + 1, width + 1, pairs), np.inf)
    steps = np.zeros((height + 1, width + 1, pairs))
    cost[0, 0] = 0.0
    for i in range(height):
        for j in range(width):
            before = np.stack([cost[i, j], cost[i, j + 1], cost[i + 1, j]])
            taken = np.stack([steps[i, j], steps[i, j + 1], steps[i + 1, j]])
            least = before.min(axis=0)
            cost[i + 1, j + 1] = least + distances[:, i, j]
            steps[i + 1, j + 1] = np.where(before <= least + _TIE, taken, np.inf).min(axis=0) + 1
    ends = (rows, columns, np.arange(pairs))
    return np.round(cost[ends] / steps[ends], _DIGITS)


def _normalise(frames: np.ndarray) -> np.ndarray:
    frames = np.asarray(frames, dtype=np.float64)
    length = np.linalg.norm(frames, axis=1, keepdims=True)
    return frames / np.where(length > 0, length, 1.0)


def _angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    # Exact for equal frames, where the arc cosine of their product would not be.
    apart = np.linalg.norm(first[:, None] - second[None], axis=2)
    together = np.linalg.norm(first[:, None] + second[None], axis=2)
    return np.round(2 / np.pi * np.arctan2(apart, together), _DIGITS)
