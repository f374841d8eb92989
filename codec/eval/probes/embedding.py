"""Linear probes of any encoder's vectors: a few clips of each class, and all of them."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np
import torch

from codec.config import to_dict
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.sources import View
from codec.eval.probes.statistics import mean_of_ratios, speaker_interval
from codec.eval.probes.types import CodedClip, Finding, Omitted, ProbeResult

Embed = Callable[[list[Clip]], np.ndarray]
"""Clips to one row each, ``(N, D)``."""
Label = Literal["speaker", "language", "domain", "source", "label"]
"""A field of the manifest, or the folder that a clip lies in (source)."""

_VECTORS = View(0, "vectors")


@dataclass(frozen=True)
class EmbeddingProbeConfig:
    """Which labels are probed, and from how many clips of each class."""

    manifests: tuple[str, ...] = ()
    """Clips to probe; the clips held out by training when there are none."""
    labels: tuple[Label, ...] = ("speaker", "source")
    shots: tuple[int, ...] = (1, 5, 20)
    """Clips of each class to learn from. Classes with no clip more than that are skipped."""
    full: bool = True
    """Learn from all clips but those of a fold, too."""
    draws: int = 10
    """Random choices of the clips to learn from."""
    folds: int = 5
    strength: float = 1.0
    """Inverse weight of the L2 penalty."""

    def __post_init__(self) -> None:
        if any(count < 1 for count in (*self.shots, self.draws)) or self.folds < 2:
            raise CodecError("config probe: shots and draws must be at least 1, folds at least 2")


def probe_embedding(embed: Embed, clips: Sequence[Clip], config: EmbeddingProbeConfig, seed: int = 0) -> ProbeResult:
    """Balanced accuracy of a linear probe on vectors, by label and number of clips learnt from.

    Vectors are standardised by the clips learnt from, then classified by multinomial logistic regression.
    Intervals are over speakers, or clips where none is named. Embedders that are given the same clips and
    seed learn from the same clips, so that their figures can be compared.

    Args:
        embed: the encoder; called once.
        clips: with labels; clips without one are skipped of its figures.

    Returns:
        Measures ``<label>_accuracy_<k>_shot`` and ``<label>_accuracy_full``; the baseline is chance.

    Raises:
        CodecError: for vectors of another number or that are not finite.
    """
    clips = list(clips)
    vectors = np.asarray(embed(clips), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(clips) or not np.isfinite(vectors).all():
        raise CodecError(
            f"the encoder gave {vectors.shape} for {len(clips)} clips; expected finite vectors ({len(clips)}, D)"
        )
    result = ProbeResult("embedding", settings=to_dict(config))
    for label in config.labels:
        named = [dataclasses.replace(clip, label=label_of(clip, label)) for clip in clips]
        result.skipped += [Omitted(clip.name, f"no {label}") for clip in named if clip.label is None]
        for shots in config.shots:
            _measure(f"{label}_accuracy_{shots}_shot", named, vectors, shots, config, seed, result)
        if config.full:
            _measure(f"{label}_accuracy_full", named, vectors, None, config, seed, result)
    return result


def label_of(clip: Clip, label: Label) -> str | None:
    """A clip's class; None where it has none."""
    if label == "source":
        return PurePosixPath(clip.path).parent.as_posix()
    return getattr(clip, label)


def _measure(
    name: str,
    clips: list[Clip],
    vectors: np.ndarray,
    shots: int | None,
    config: EmbeddingProbeConfig,
    seed: int,
    result: ProbeResult,
) -> None:
    # With scikit-learn, which a config that names probes can be read without.
    from codec.eval.probes.features import fit_predict
    from codec.eval.probes.fewshot import draw_clips, folds_of

    counts = Counter(clip.label for clip in clips if clip.label is not None)
    least = config.folds if shots is None else shots + 1
    used = [i for i, clip in enumerate(clips) if counts[clip.label or ""] >= least]
    labels = np.array([clips[i].label for i in used])
    classes, which = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        result.notes.append(f"{name}: fewer than two classes have {least} clips: nothing measured")
        return
    rows = vectors[used]
    # Draws are made by label and speaker; no codes are looked at.
    coded = [CodedClip(clips[i], torch.empty(0)) for i in used]
    if shots is None:
        draws = folds_of(labels, config.folds, seed)
    else:
        draws = draw_clips(coded, shots, config.draws, "clip", seed)
    tally = np.zeros((len(used), len(classes), 2))
    for draw in draws:
        guesses = fit_predict(_VECTORS, config.strength, rows[draw.train], labels[draw.train], rows[draw.test])
        tally[draw.test, which[draw.test], 0] += guesses == labels[draw.test]
        tally[draw.test, which[draw.test], 1] += 1
    interval = speaker_interval(tally, [clip.speaker for clip in coded], mean_of_ratios, seed)
    value = mean_of_ratios(tally.sum(axis=0))
    result.measures.append(
        Finding.of(name, _VECTORS, value, interval, 1 / len(classes), "higher", len(used))
    )
