"""Phones at instants that are the same for all encoders, whatever their frame rates."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codec.align.phones import align_clips, phones_at_frames
from codec.align.pocketsphinx import SILENCE
from codec.data import Clip
from codec.eval.probes.encoder_frames import Shown
from codec.eval.probes.features import fit_predict
from codec.eval.probes.phone_labels import can_be_aligned
from codec.eval.probes.sources import View
from codec.eval.probes.statistics import ratio, speaker_interval
from codec.eval.probes.types import Finding, Omitted

STANDARDISED = View(0, "vectors")
"""How the classifier takes vectors, whatever they are called in results."""


@dataclass(frozen=True)
class Instants:
    """The phones of a clip.

    Attributes:
        seconds: ``(n,)``, when each is read.
        phones: ``(n,)`` strings.
    """

    clip: Clip
    seconds: np.ndarray
    phones: np.ndarray

    @property
    def speaker(self) -> str:
        """The speaker; a clip that names none counts as a separate one."""
        return self.clip.speaker or f"unknown:{self.clip.name}"

    def frames(self, shown: Shown) -> np.ndarray:
        """``(n, D)``: the frame nearest to each instant."""
        frames = shown.frames(self.clip)
        nearest = np.round((self.seconds - shown.offset) * shown.rate).astype(int)
        return frames.numpy()[nearest.clip(0, len(frames) - 1)]


def spoken(clips: list[Clip]) -> list[Clip]:
    """Clips whose phones can be found."""
    return [clip for clip in clips if can_be_aligned(clip)]


def read_instants(clips: list[Clip], rate: float, cache: Path, skipped: list[Omitted]) -> list[Instants]:
    """Phones of clips with English text, ``rate`` a second, where one is known.

    Args:
        cache: file of alignments.
        skipped: gets clips that cannot be aligned.
    """
    if len(clips) < 2:
        return []
    known, found = align_clips(clips, cache, skipped), []
    for clip in clips:
        if clip.name not in known:
            continue
        count = max(1, int(clip.seconds * rate))
        phones = phones_at_frames(known[clip.name], count, rate)
        kept = [index for index, phone in enumerate(phones) if phone is not None]
        if kept:
            found.append(Instants(clip, (np.array(kept) + 0.5) / rate, np.array([phones[i] for i in kept])))
    return found


def phone_findings(
    clips: list[Instants], shown: Shown, folds: list[tuple[list[int], list[int]]], strength: float, seed: int
) -> list[Finding]:
    """Accuracy over all instants and over those of speech; the baseline is the commonest phone of the other speakers.

    Args:
        folds: clips to learn from, and those to test.
        strength: inverse weight of the L2 penalty.
    """
    inputs = [clip.frames(shown) for clip in clips]
    counts, baseline = np.zeros((2, len(clips), 2)), np.zeros((2, len(clips), 2))
    for learned, tested in folds:
        labels = np.concatenate([clips[i].phones for i in learned])
        symbols, often = np.unique(labels, return_counts=True)
        unseen = np.concatenate([inputs[i] for i in tested])
        guesses = fit_predict(STANDARDISED, strength, np.concatenate([inputs[i] for i in learned]), labels, unseen)
        cuts = np.cumsum([len(clips[i].phones) for i in tested])[:-1]
        for i, guess in zip(tested, np.split(guesses, cuts), strict=True):
            truth = clips[i].phones
            for row, kept in enumerate((np.ones(len(truth), bool), truth != SILENCE)):
                counts[row, i] = ((guess == truth) & kept).sum(), kept.sum()
                baseline[row, i] = ((truth == symbols[often.argmax()]) & kept).sum(), kept.sum()
    findings = []
    for row, name in enumerate(("phone_accuracy", "phone_accuracy_speech")):
        interval = speaker_interval(counts[row], [clip.speaker for clip in clips], ratio, seed)
        value, chance = ratio(counts[row].sum(axis=0)), ratio(baseline[row].sum(axis=0))
        findings.append(Finding.of(f"linear_{name}", shown.view, value, interval, chance, "higher", len(clips)))
    return findings
