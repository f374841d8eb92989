"""What a linear probe reads from whole clips, by what the manifest says of them, and who is held out."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import GroupKFold

from codec.data import Clip
from codec.eval.probes.fewshot import Draw, folds_of

TAG_SEPARATOR = ";"
"""Between the tags in a clip's ``label``."""


@dataclass(frozen=True)
class Question:
    """Classes of clips.

    Attributes:
        name: speaker, label, instrument, pitch or tags.
        clips: those that have a class.
        classes: sorted names.
        truth: ``(N, C)`` bool, the classes of each clip: one of them, or any number of tags.
        units: of each clip, what the bootstrap draws.
        folds: each clip is tested once.
    """

    name: str
    clips: list[Clip]
    classes: list[str]
    truth: np.ndarray
    units: list[str]
    folds: list[Draw]

    @property
    def several(self) -> bool:
        """Whether a clip can have any number of classes."""
        return self.name == "tags"


def questions(clips: Sequence[Clip], folds: int, seed: int) -> list[Question]:
    """All that the manifest allows to ask.

    Single notes (:mod:`recipes.notes`: music with ``speaker`` and ``label``) have an instrument, read from pitches
    that the probe did not learn from, and a pitch, read from instruments that it did not learn from. A label with
    semicolons is a list of tags; clips of one ``speaker``, say a band, are then held out together. Otherwise speaker
    and label are read, each from clips that were not learned from.
    """
    tagged = [clip for clip in clips if clip.label and TAG_SEPARATOR in clip.label]
    notes = [clip for clip in clips if clip.speaker and clip.label and clip.domain == "music" and clip not in tagged]
    others = [clip for clip in clips if clip not in tagged and clip not in notes]
    found = [
        _tags(tagged, folds, seed),
        _grouped("instrument", notes, [clip.speaker for clip in notes], [clip.label for clip in notes], folds),
        _grouped("pitch", notes, [clip.label for clip in notes], [clip.speaker for clip in notes], folds),
        _plain("speaker", others, [clip.speaker for clip in others], folds, seed),
        _plain("label", others, [clip.label for clip in others], folds, seed),
    ]
    return [question for question in found if question is not None]


def _tags(clips: list[Clip], folds: int, seed: int) -> Question | None:
    sets = [set((clip.label or "").split(TAG_SEPARATOR)) for clip in clips]
    classes = sorted(set().union(*sets))
    truth = np.array([[name in tags for name in classes] for tags in sets], dtype=bool)
    groups = [clip.speaker or clip.name for clip in clips]
    if len(classes) < 2 or len(set(groups)) < folds:
        return None
    return Question("tags", clips, classes, truth, groups, _group_folds(groups, folds, seed))


def _grouped(
    name: str, clips: list[Clip], labels: list[str | None], groups: list[str | None], folds: int
) -> Question | None:
    """Clips of one group are held out together."""
    classes = sorted({label for label in labels if label})
    held = [group or "" for group in groups]
    if len(classes) < 2 or len(set(held)) < 2:
        return None
    truth = np.array(labels)[:, None] == np.array(classes)[None]
    return Question(name, clips, classes, truth, held, _group_folds(held, min(folds, len(set(held))), 0))


def _plain(name: str, clips: list[Clip], labels: list[str | None], folds: int, seed: int) -> Question | None:
    """Classes with at least one clip a fold."""
    counts = Counter(label for label in labels if label)
    kept = [index for index, label in enumerate(labels) if label and counts[label] >= folds]
    classes = sorted({labels[index] or "" for index in kept})
    if len(classes) < 2:
        return None
    names = np.array([labels[index] for index in kept])
    chosen = [clips[index] for index in kept]
    units = [clip.speaker or clip.name for clip in chosen]
    truth = names[:, None] == np.array(classes)[None]
    return Question(name, chosen, classes, truth, units, folds_of(names, folds, seed))


def _group_folds(groups: list[str], folds: int, seed: int) -> list[Draw]:
    splitter = GroupKFold(folds, shuffle=True, random_state=seed)
    return [Draw(train, test) for train, test in splitter.split(groups, groups=groups)]
