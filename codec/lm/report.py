"""What a model's tokens cost: held-out bits a frame against n-grams that were counted on the same clips."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from codec.eval.probes.lm import ngram_name
from codec.eval.probes.statistics import ratio, speaker_interval
from codec.lm.base import SpeechLm
from codec.lm.config import LmConfig
from codec.lm.pieces import Piece, Pieces
from codec.tokens.ngrams import NGramModel

_AT_ONCE = 8
"""Pieces of a batch when a model is measured."""


@dataclass(frozen=True)
class Bits:
    """Bits of a frame, over all held-out frames.

    Attributes:
        low, high: 95 % interval of the bootstrap over speakers, clips where there is one speaker.
        by_codebook: of each codebook; they add up to ``value``.
    """

    value: float
    low: float | None
    high: float | None
    by_codebook: list[float]


def measure(lm: SpeechLm, pieces: Pieces, config: LmConfig) -> dict[str, Any]:
    """The content of ``report.json``: all models see the same held-out pieces, each from its first frame on.

    A code costs ``-log2 p(code)`` among the codes of its codebook, so that no model pays for where a clip ends.
    """
    lm.module.eval()
    report = measure_ngrams(pieces, config)
    report["bits_per_frame"]["lm"] = asdict(bits_of(pieces.test, config.seed, lambda part: lm.bits(part).numpy()))
    given = "text" if getattr(lm, "reads_text", config.task == "tts") else "nothing"
    return {**report, "given": given, "parameters": sum(weight.numel() for weight in lm.module.parameters())}


def measure_ngrams(pieces: Pieces, config: LmConfig) -> dict[str, Any]:
    """That of n-grams of 1 to ``order`` codes alone, which are counted on the pieces to train on."""
    found = {}
    for order in range(1, config.order + 1):
        ngram = NGramModel([piece.codes.numpy() for piece in pieces.train], pieces.vocab.codebook_sizes, order)
        found[ngram_name(order)] = bits_of(pieces.test, config.seed, lambda part, m=ngram: _count(m, part))  # type: ignore[misc]
    return {
        "bits_per_frame": {name: asdict(bits) for name, bits in found.items()},
        "uniform": float(np.log2(pieces.vocab.codebook_sizes).sum()),
        "frame_rate": pieces.vocab.frame_rate,
        "fingerprint": pieces.vocab.fingerprint,
        "train": _facts(pieces.train),
        "test": _facts(pieces.test),
        "left_out_clips": pieces.left_out,
        "held_out": "clips" if config.test_corpus is None else config.test_corpus,
    }


def _count(model: NGramModel, part: Sequence[Piece]) -> np.ndarray:
    return np.stack([model.bits(piece.codes.numpy()) for piece in part])


def bits_of(test: Sequence[Piece], seed: int, cost: Callable[[Sequence[Piece]], np.ndarray]) -> Bits:
    """Pooled bits of pieces, given what each costs by codebook ``(B, K)``."""
    # Pieces of similar length share a batch; the order does not matter to the sums.
    ordered = sorted(test, key=lambda piece: piece.codes.shape[1])
    parts = [ordered[i : i + _AT_ONCE] for i in range(0, len(ordered), _AT_ONCE)]
    costs = np.concatenate([cost(part) for part in parts])
    frames = np.array([piece.codes.shape[1] for piece in ordered])
    sums = np.stack([costs.sum(1), frames], axis=1)
    interval = speaker_interval(sums, [piece.speaker for piece in ordered], ratio, seed)
    return Bits(ratio(sums.sum(0)), interval.low, interval.high, (costs.sum(0) / frames.sum()).tolist())


def _facts(pieces: Sequence[Piece]) -> dict[str, int]:
    return {
        "clips": len({piece.clip for piece in pieces}),
        "frames": sum(piece.codes.shape[1] for piece in pieces),
        "speakers": len({piece.speaker for piece in pieces}),
    }
