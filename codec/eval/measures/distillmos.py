"""DistillMOS by the package ``distillmos``, which carries the weights."""

import contextlib
import io
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import torch

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import Pair, Skip


@measure("distillmos")
class DistillMos(Measure):
    """DistillMOS (Stahl and Gamper 2025), naturalness without reference: 1 to 5."""

    columns = (Column("distillmos", "DistillMOS", True),)
    packages = ("distillmos", "xls-r-sqa")
    # Both name torchaudio as a dependency, and pip would install one that does not fit this torch.
    install = "pip install --no-deps distillmos==0.9.1 xls-r-sqa==0.1.0"
    resembles = ("distillmos",)
    intrusive = False

    def __call__(self, pair: Pair) -> dict[str, float]:
        if not pair.output.any():
            # The model divides by the peak; its score of digital silence means nothing.
            raise Skip("the output is silent")
        with torch.inference_mode():
            return {"distillmos": float(_model()(torch.from_numpy(pair.output.copy())[None]))}


@lru_cache(maxsize=1)
def _model() -> torch.nn.Module:
    with _stand_in("torchaudio"):
        from distillmos import ConvTransformerSQAModel
    # It greets on stdout, where the tables go.
    with contextlib.redirect_stdout(io.StringIO()):
        return ConvTransformerSQAModel().eval()


@contextmanager
def _stand_in(name: str) -> Iterator[None]:
    """An empty module of that name for as long as an import lasts.

    distillmos imports torchaudio for its command line alone, which reads files. A torchaudio that is
    installed is not touched: it may be built for another torch and fail to load.
    """
    before = sys.modules.get(name)
    sys.modules[name] = types.ModuleType(name)
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
