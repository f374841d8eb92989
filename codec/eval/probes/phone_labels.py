"""Clips with a phone for every frame that has one, and folds of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold

from codec.align.phones import align_clips, phones_at_frames
from codec.data import Clip
from codec.eval.probes.types import CodedClip, Omitted, ProbeTask


@dataclass(frozen=True)
class LabelledClip:
    """The frames of a clip whose phone is known.

    Attributes:
        coded: clip and codes ``(K, T)``.
        phones: ``(T,)`` strings.
    """

    coded: CodedClip
    phones: np.ndarray


def can_be_aligned(clip: Clip) -> bool:
    """Whether there is text, in the language of pocketsphinx's own model."""
    return bool(clip.text) and (clip.language or "en").lower().startswith("en")


def label_clips(clips: list[Clip], task: ProbeTask, skipped: list[Omitted]) -> list[LabelledClip]:
    """Tokens and phones of the clips; those without either are added to ``skipped``."""
    usable = [clip for clip in clips if can_be_aligned(clip)]
    skipped += [
        Omitted(clip.name, "not English" if clip.text else "no text")
        for clip in clips
        if not can_be_aligned(clip)
    ]
    coded = task.code(usable, skipped)
    alignments = align_clips([c.clip for c in coded], task.out / "alignments.jsonl", skipped)
    labelled = []
    for item in coded:
        name = item.clip.name
        if name not in alignments:
            continue
        phones = phones_at_frames(alignments[name], item.codes.shape[1], task.tokens.frame_rate)
        kept = [i for i, phone in enumerate(phones) if phone is not None]
        if not kept:
            skipped.append(Omitted(name, "no frame has a phone"))
            continue
        known = np.array([phones[i] for i in kept])
        labelled.append(LabelledClip(CodedClip(item.clip, item.codes[:, kept]), known))
    return labelled


def speaker_folds(clips: list[LabelledClip], folds: int) -> Iterator[tuple[list[int], list[int]]]:
    """Indices to train on and to test on; by speaker, or by clip when there is one speaker."""
    groups = [clip.coded.speaker for clip in clips]
    if len(set(groups)) < 2:
        groups = [str(i) for i in range(len(clips))]
    splitter = GroupKFold(min(folds, len(set(groups))))
    for train, test in splitter.split(groups, groups=groups):
        yield train.tolist(), test.tolist()
