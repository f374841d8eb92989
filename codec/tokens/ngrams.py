"""Counts of codes as a language model: the floor that a trained one has to beat, and a measure of tokens.

Modified Kneser-Ney smoothing, interpolated (Chen and Goodman 1999, section 3): the highest order counts
occurrences, each lower one the different contexts in which a code was seen; counts of 1, 2 and more have discounts
of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec.errors import CodecError


@dataclass(frozen=True)
class _Level:
    """Counts of one order.

    Attributes:
        keys: ``(G,)`` sorted numbers of the n-grams.
        counts: ``(G,)`` of each.
        contexts: ``(C,)`` sorted numbers of the contexts.
        totals: ``(C,)`` counts of each context.
        taken: ``(C,)`` sum of the discounts after each context, which the lower order gives out.
        discounts: ``(4,)`` of counts of 0, 1, 2 and more.
    """

    keys: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    taken: np.ndarray
    discounts: np.ndarray


class NGram:
    """Probabilities of a code after those before it, by counts.

    Args:
        grams: ``(N, n)`` integers; the last column is the code, the column before it the nearest context.
            Contexts may have the number ``widest``, where nothing stands before.
        size: entries of the codebook.
        widest: entries of the largest codebook of the contexts; ``size`` by default.

    Raises:
        CodecError: for no rows, numbers out of range, or an order whose n-grams have no number in 63 bits.
    """

    def __init__(self, grams: np.ndarray, size: int, widest: int | None = None):
        grams = np.asarray(grams, np.int64)
        if grams.ndim != 2 or not len(grams):
            raise CodecError(f"n-grams must be (N, n) with N above 0, got shape {grams.shape}")
        self.size, self.order = size, grams.shape[1]
        self._radix = (widest or size) + 1
        if grams.min() < 0 or grams.max() >= self._radix or grams[:, -1].max() >= size:
            raise CodecError(f"codes of n-grams must lie in 0..{size - 1}, got {grams.min()}..{grams.max()}")
        if self.order * np.log2(self._radix) >= 63:
            raise CodecError(f"order {self.order} is too high for codebooks of {self._radix - 1}; take a lower one")
        self._levels: list[_Level] = []
        keys = self._numbers(grams)
        for order in range(self.order, 0, -1):
            keys, counts = np.unique(keys, return_counts=True)
            self._levels.insert(0, self._level(keys, counts))
            # The next lower order counts each n-gram once, whatever came before it.
            keys = keys % self._radix ** (order - 1)

    def probabilities(self, grams: np.ndarray) -> np.ndarray:
        """``(N,)`` float64: of each last column after the columns before it, ``(N, n)``."""
        numbers = self._numbers(np.asarray(grams, np.int64))
        found = np.full(len(numbers), 1 / self.size)
        for order, level in enumerate(self._levels, 1):
            key = numbers % self._radix ** order
            count = _look_up(level.keys, level.counts, key)
            total = _look_up(level.contexts, level.totals, key // self._radix)
            taken = _look_up(level.contexts, level.taken, key // self._radix)
            seen = count - level.discounts[np.minimum(count, 3)] + taken * found
            # A context that never occurred says nothing: the lower order stays.
            found = np.where(total > 0, seen / np.maximum(total, 1), found)
        return found

    def bits(self, grams: np.ndarray) -> np.ndarray:
        """``(N,)``: what each code costs, in bits."""
        return -np.log2(self.probabilities(grams))

    def _numbers(self, grams: np.ndarray) -> np.ndarray:
        """One number for each row, the code as its last digit and the nearest context as the one before."""
        return grams @ (self._radix ** np.arange(grams.shape[1], dtype=np.int64)[::-1])

    def _level(self, keys: np.ndarray, counts: np.ndarray) -> _Level:
        contexts, first = np.unique(keys // self._radix, return_index=True)
        discounts = _discounts(counts)
        taken = np.add.reduceat(discounts[np.minimum(counts, 3)], first)
        return _Level(keys, counts, contexts, np.add.reduceat(counts, first), taken, discounts)


def _discounts(counts: np.ndarray) -> np.ndarray:
    """``(4,)`` for counts of 0, 1, 2 and more (Chen and Goodman 1999, eq. 17)."""
    once, twice, thrice, four = (int((counts == number).sum()) for number in (1, 2, 3, 4))
    # Ney, Essen and Kneser 1994; without codes seen once there is nothing to estimate it from.
    share = once / (once + 2 * twice) if once else 0.5
    if not (once and twice and thrice and four):
        return np.array([0.0, *[min(share, 0.95)] * 3])
    by_count = [1 - 2 * share * twice / once, 2 - 3 * share * thrice / twice, 3 - 4 * share * four / thrice]
    # Something is left of each count, and something for what was never seen.
    return np.array([0.0, *(float(np.clip(d, 0.05, n - 0.05)) for n, d in enumerate(by_count, 1))])


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The value of each wanted key, 0 where there is none."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[places] == wanted, values[places], 0)


def grams_of(codes: np.ndarray, layer: int, order: int, size: int) -> np.ndarray:
    """Each code of one codebook with its context, ``(T, order)``, nearest context last before the code.

    The context of codebook q is the code of codebook q - 1 in the same frame, where there is one, and then
    the codebook's own past. All of it is known by then in the layouts ``flat`` and ``parallel``.

    Args:
        codes: ``(K, T)`` of one clip.
        size: entries of the largest codebook; also the number of what stands before the clip.
    """
    own, frames = codes[layer].astype(np.int64), codes.shape[1]
    columns = [own]
    if layer and order > 1:
        columns.append(codes[layer - 1].astype(np.int64))
    columns += [
        np.concatenate([np.full(min(lag, frames), size), own[: max(frames - lag, 0)]])
        for lag in range(1, order - len(columns) + 1)
    ]
    return np.stack(columns[::-1], axis=1)


class NGramModel:
    """An n-gram for each codebook.

    Args:
        clips: codes ``(K, T)`` of each clip, to count.
        sizes: entries of each of the K codebooks.
        order: 1 for unigrams, 2 for bigrams...

    Raises:
        CodecError: when no clip has a frame, or for an order that is too high.
    """

    def __init__(self, clips: Sequence[np.ndarray], sizes: Sequence[int], order: int):
        if order < 1:
            raise CodecError(f"the order of an n-gram must be 1 or more, got {order}")
        if not any(codes.shape[1] for codes in clips):
            raise CodecError("no frames to count; give at least one clip that is not empty")
        self.sizes, self.order = tuple(sizes), order
        self.layers = [
            NGram(np.concatenate([self._grams(codes, layer) for codes in clips]), size, max(self.sizes))
            for layer, size in enumerate(self.sizes)
        ]

    def bits(self, codes: np.ndarray) -> np.ndarray:
        """``(K,)``: bits of all frames of one clip ``(K, T)``, by codebook."""
        sums = [model.bits(self._grams(codes, layer)).sum() for layer, model in enumerate(self.layers)]
        return np.array(sums)

    def _grams(self, codes: np.ndarray, layer: int) -> np.ndarray:
        return grams_of(codes, layer, self.order, max(self.sizes))
