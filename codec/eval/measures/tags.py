"""What a tagger of music hears in the recording and in the output."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from codec.encoders.base import Encoder, EncoderConfig
from codec.encoders.musicnn import FILE, is_musicnn, open_musicnn
from codec.errors import CodecError
from codec.eval.measures.base import Column, Measure, MetricSettings
from codec.eval.measures.registry import measure
from codec.eval.types import Pair, Skip

_TOP = 5
_LEAST = 1e-4
"""Probabilities are compared from here on: below, their logarithms are of noise."""


@measure("tags")
@dataclass(frozen=True)
class Tags(Measure):
    """Agreement of musicnn's 50 tags of output and recording: % of the top five kept, and mean |log-odds difference|.

    Tags are genres, instruments, voices and moods of the Million Song Dataset (Pons and Serra 2019, arXiv 1909.06654).
    They are of music: of speech they say little.
    """

    model: str

    columns = (
        Column("tags", "top tags kept %", True, digits=1, scale=100),
        Column("tags_distance", "tag log-odds distance", False, digits=3),
    )
    packages = ("onnxruntime",)
    install = "pip install 'codec[music]'"
    resembles = ("musicnn",)

    @classmethod
    def from_settings(cls, settings: MetricSettings) -> "Tags":
        if not settings.tag_model:
            raise CodecError("measure 'tags' needs musicnn; pass --tag-model FOLDER (tag_model in a config)")
        if not is_musicnn(settings.tag_model):
            raise CodecError(f"--tag-model {settings.tag_model}: no {FILE} in this folder; docs/evaluation.md")
        return cls(settings.tag_model)

    def __call__(self, pair: Pair) -> dict[str, float]:
        if not pair.output.any():
            raise Skip("the output is silent")
        # A worker meets the same reference once for every system.
        reference = _cached_reference(self.model, pair.clip.audio.as_posix(), pair.reference.tobytes())
        return tag_agreement(reference, _tags(self.model, pair.output))

    def signature(self) -> str:
        return f"{super().signature()} {Path(self.model).resolve().name}"


def tag_agreement(reference: np.ndarray, output: np.ndarray) -> dict[str, float]:
    """Both figures, from the probabilities ``(50,)`` of the tags of each."""
    top = [set(np.argsort(-tags, kind="stable")[:_TOP].tolist()) for tags in (reference, output)]
    odds = [np.log(tags / (1.0 - tags)) for tags in (np.clip(t, _LEAST, 1.0 - _LEAST) for t in (reference, output))]
    return {"tags": len(top[0] & top[1]) / _TOP, "tags_distance": float(np.abs(odds[0] - odds[1]).mean())}


@lru_cache(maxsize=16)
def _cached_reference(model: str, _path: str, samples: bytes) -> np.ndarray:
    return _tags(model, np.frombuffer(samples, dtype=np.float32))


def _tags(model: str, wav: np.ndarray) -> np.ndarray:
    import torch

    (row,) = _tagger(model).run([torch.from_numpy(wav.copy())])
    return row[0].double().numpy()


@lru_cache(maxsize=1)
def _tagger(model: str) -> Encoder:
    return open_musicnn(EncoderConfig(model=model, output="tags"))
