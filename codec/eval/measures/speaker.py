"""Speaker similarity: Resemblyzer, or any x-vector model of transformers."""

import importlib.metadata
import sys
import types
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from codec.encoders.hub import load_pretrained
from codec.errors import CodecError
from codec.eval.measures.base import Column, Measure, MetricSettings
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair


@measure("speaker")
class SpeakerSimilarity(Measure):
    """Cosine of Resemblyzer embeddings (GE2E, Wan et al. 2018) of the whole clips, pauses kept: up to 1."""

    columns = (Column("speaker", "speaker", True, digits=3),)
    packages = ("Resemblyzer", "webrtcvad")

    def __call__(self, pair: Pair) -> dict[str, float]:
        # A worker meets the same reference once for every system.
        reference = _cached_reference(pair.clip.audio.as_posix(), pair.reference.tobytes())
        return {"speaker": _cosine(reference, _resemblyzer(pair.output))}


@measure("xvector")
@dataclass(frozen=True)
class XvectorSimilarity(Measure):
    """Cosine of x-vectors of reference and output, by a transformers model: up to 1."""

    model: str

    columns = (Column("xvector", "x-vector", True, digits=3),)
    packages = ("transformers",)

    @classmethod
    def from_settings(cls, settings: MetricSettings) -> "XvectorSimilarity":
        if not settings.speaker_model:
            raise CodecError("measure 'xvector' needs one; pass --speaker-model FOLDER|ID (speaker_model in a config)")
        return cls(settings.speaker_model)

    def __call__(self, pair: Pair) -> dict[str, float]:
        return {"xvector": _cosine(self._embed(pair.reference), self._embed(pair.output))}

    def signature(self) -> str:
        return f"{super().signature()} {self.model}"

    def _embed(self, wav: np.ndarray) -> np.ndarray:
        import torch

        model, extractor = _xvector_model(self.model)
        inputs = extractor(wav, sampling_rate=SCORING_RATE, return_tensors="pt")
        with torch.inference_mode():
            return model(**inputs).embeddings[0].numpy()


def _cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))


@lru_cache(maxsize=16)
def _cached_reference(_path: str, samples: bytes) -> np.ndarray:
    return _resemblyzer(np.frombuffer(samples, dtype=np.float32))


def _resemblyzer(wav: np.ndarray) -> np.ndarray:
    # Its preprocessing cuts pauses by a detector that codecs disturb: other frames would be compared.
    return _resemblyzer_model().embed_utterance(wav)


@lru_cache(maxsize=1)
def _resemblyzer_model() -> Any:
    _provide_pkg_resources()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import resemblyzer

    return resemblyzer.VoiceEncoder("cpu", verbose=False)


def _provide_pkg_resources() -> None:
    """webrtcvad 2.0.10 asks pkg_resources for its version; setuptools 82 and later lack that module."""
    try:
        import pkg_resources  # noqa: F401
    except ImportError:
        stand_in = types.ModuleType("pkg_resources")
        vars(stand_in)["get_distribution"] = importlib.metadata.distribution
        sys.modules["pkg_resources"] = stand_in
        import webrtcvad  # noqa: F401

        del sys.modules["pkg_resources"]


@lru_cache(maxsize=1)
def _xvector_model(name: str) -> tuple[Any, Any]:
    from transformers import AutoFeatureExtractor, AutoModelForAudioXVector

    extractor = load_pretrained(AutoFeatureExtractor, name)
    return load_pretrained(AutoModelForAudioXVector, name).eval(), extractor
