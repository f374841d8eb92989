"""How much louder or quieter the output is."""

import numpy as np

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import Pair

LEVEL_LIMIT = 100.0
"""dB beyond which a difference is cut off: what a silent output has."""


@measure("level")
class LevelDifference(Measure):
    """RMS of the output over that of the recording in dB, whole clips, pauses kept: 0 is right, below is too quiet."""

    # Nearer to zero is better, so neither side is.
    columns = (Column("level", "level dB", None, digits=1),)
    resembles = ("level",)

    def __call__(self, pair: Pair) -> dict[str, float]:
        reference, output = _energy(pair.reference), _energy(pair.output)
        difference = 10 * np.log10(max(output, 1e-30) / reference)
        return {"level": float(np.clip(difference, -LEVEL_LIMIT, LEVEL_LIMIT))}


def _energy(wav: np.ndarray) -> float:
    return float(np.square(wav, dtype=np.float64).sum())
