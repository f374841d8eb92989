"""The recording itself: the ceiling of every measure."""

from dataclasses import dataclass

import numpy as np

from codec.data.manifest import Clip
from codec.eval.systems.base import System
from codec.eval.types import Coded

_PCM_BITS = 16


@dataclass(frozen=True)
class Original(System):
    """Uncoded 16-bit PCM."""

    label = "original"
    family = "original"
    aligned = True

    def signature(self) -> str:
        return "original"

    def code(self, clip: Clip, wav: np.ndarray) -> Coded:
        return Coded(wav, self.sample_rate, bits=float(_PCM_BITS * len(wav)))
