"""ViSQOL in speech mode by the package ``visqol-python``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip

# Speech mode compares patches of 20 windows of 80 ms that overlap by three quarters.
_MIN_SECONDS = 0.5


@measure("visqol")
class Visqol(Measure):
    """ViSQOL v3, speech mode with the lattice mapping, MOS-LQO: 1 to about 4.3.

    What identical audio scores depends on the speech in it; only its similarity (NSIM) is always 1.
    """

    columns = (Column("visqol", "ViSQOL", True),)
    packages = ("visqol-python", "ai-edge-litert")

    def __call__(self, pair: Pair) -> dict[str, float]:
        if len(pair.reference) < _MIN_SECONDS * SCORING_RATE:
            raise Skip(f"shorter than the {_MIN_SECONDS} s that ViSQOL needs")
        result = _model().measure_from_arrays(
            pair.reference.astype(np.float64), pair.output.astype(np.float64), SCORING_RATE
        )
        return {"visqol": float(result.moslqo), "visqol_nsim": float(result.vnsim)}


@lru_cache(maxsize=1)
def _model() -> Any:
    from visqol import VisqolApi

    model = VisqolApi()
    with _quiet_stderr():
        model.create(mode="speech", use_lattice_model=True)
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
