"""ViSQOL in its modes of speech and of music, by the package ``visqol-python``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip

# Both modes compare patches of overlapping windows of 80 ms: speech mode 20 of them, audio mode 30.
_MIN_SECONDS = {"speech": 0.5, "audio": 0.7}
_AUDIO_RATE = 48_000


@measure("visqol")
class Visqol(Measure):
    """ViSQOL v3, speech mode with the lattice mapping, MOS-LQO: 1 to about 4.3.

    What identical audio scores depends on the speech in it; only its similarity (NSIM) is always 1.
    """

    mode = "speech"
    columns = (Column("visqol", "ViSQOL", True),)
    packages = ("visqol-python", "ai-edge-litert")

    def __call__(self, pair: Pair) -> dict[str, float]:
        shortest = _MIN_SECONDS[self.mode]
        if len(pair.reference) < shortest * SCORING_RATE:
            raise Skip(f"shorter than the {shortest} s that ViSQOL needs")
        reference, output = (self._prepared(wav) for wav in (pair.reference, pair.output))
        result = _model(self.mode).measure_from_arrays(reference, output, self._rate)
        return {self.name: float(result.moslqo), f"{self.name}_nsim": float(result.vnsim)}

    _rate = SCORING_RATE

    def _prepared(self, wav: np.ndarray) -> np.ndarray:
        return wav.astype(np.float64)


@measure("visqol_audio")
class VisqolAudio(Visqol):
    """ViSQOL v3, audio mode with its support vector regression, MOS-LQO: 1 to 4.73, for music.

    It works at 48 kHz, to which both are resampled (soxr): above 8 kHz the two are alike, since both are empty.
    """

    mode = "audio"
    columns = (Column("visqol_audio", "ViSQOL audio", True),)
    packages = ("visqol-python", "soxr")
    _rate = _AUDIO_RATE

    def _prepared(self, wav: np.ndarray) -> np.ndarray:
        import soxr

        return soxr.resample(wav.astype(np.float64), SCORING_RATE, _AUDIO_RATE)


@lru_cache(maxsize=2)
def _model(mode: str) -> Any:
    from visqol import VisqolApi

    model = VisqolApi()
    with _quiet_stderr():
        model.create(mode=mode, use_lattice_model=mode == "speech")
    return model


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """LiteRT greets on the bare file descriptor, into the middle of a progress bar."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
