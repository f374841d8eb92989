"""Codebook usage of a token codec."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class CodebookUse:
    """One codebook over all clips.

    Attributes:
        layer: 1 to K.
        size: entries.
        used: share of entries that occur.
        entropy: bits per code, of the code's frequencies (order 0).
        perplexity: ``2 ** entropy``: entries that equally frequent codes would need.
        frames: codes counted; fewer than some multiples of ``size`` understate all three.
    """

    layer: int
    size: int
    used: float
    entropy: float
    perplexity: float
    frames: int


def codebook_use(codes: Iterable[np.ndarray], sizes: Sequence[int]) -> list[CodebookUse]:
    """Usage of every layer.

    Args:
        codes: of each clip ``(K, F)``, those of a layer in ``0..size - 1``.
        sizes: entries of each of the K codebooks.
    """
    counts: list[np.ndarray] = []
    for clip in codes:
        found = [np.bincount(layer, minlength=size) for layer, size in zip(clip, sizes, strict=True)]
        counts = [before + now for before, now in zip(counts, found, strict=True)] if counts else found
    return [_use(layer, row) for layer, row in enumerate(counts, start=1)]


def read_codes(paths: Iterable[Path]) -> list[np.ndarray]:
    """Read the code files that exist."""
    return [np.load(path, allow_pickle=False) for path in paths if path.is_file()]


def _use(layer: int, counts: np.ndarray) -> CodebookUse:
    share = counts[counts > 0] / counts.sum()
    entropy = float(-(share * np.log2(share)).sum())
    return CodebookUse(
        layer=layer,
        size=len(counts),
        used=float((counts > 0).mean()),
        entropy=entropy + 0.0,
        perplexity=float(2**entropy),
        frames=int(counts.sum()),
    )
