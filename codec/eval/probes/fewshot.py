"""Few-shot probes: labels of the user's own, learnt from a few clips of each class."""

import dataclasses
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from sklearn.model_selection import StratifiedKFold

from codec.config import to_dict
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.features import clip_features, fit_predict, nearest_centroid
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import View, views
from codec.eval.probes.statistics import few_speakers_note, mean_of_ratios, speaker_interval
from codec.eval.probes.types import CodedClip, Finding, Omitted, ProbeResult, ProbeTask


@dataclass(frozen=True)
class Draw:
    """Indices of clips: k of each class to learn from, and those to test on."""

    train: np.ndarray
    test: np.ndarray


Split = Literal["clip", "speaker"]


@dataclass(frozen=True)
class DrawsConfig:
    """How a probe learns from few clips."""

    shots: list[int] = field(default_factory=lambda: [1, 5])
    """Clips of each class to learn from."""
    draws: int = 20
    """Random choices of them."""
    classifier: Literal["linear", "centroid"] = "linear"
    """Logistic regression, or the nearest mean of a class, which learns nothing else (few-shot mode of MARBLE)."""
    strength: float = 100.0
    """Inverse weight of the L2 penalty of ``linear``."""

    def __post_init__(self) -> None:
        if not self.shots or min(self.shots) < 1 or self.draws < 1:
            raise CodecError("config probes: shots and draws must be at least 1")


@probe("fewshot")
class FewShotProbe:
    """Balanced accuracy of a classifier on ``k`` clips of each class, over random draws; a linear one by default.

    The mean over draws is given with an interval over speakers; its spread over draws is in the
    notes. The baseline is one divided by the number of classes, exact for balanced accuracy.
    """

    @dataclass(frozen=True)
    class Config(DrawsConfig):
        by: Literal["label", "speaker", "language", "domain"] = "label"
        """Field of the manifest that holds the class."""
        split: Split = "clip"
        """``speaker``: each draw learns from one half of the speakers and is tested on the other."""

    def __init__(self, config: "FewShotProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        counts = Counter(clip.label for clip in self._labelled(task) if clip.label)
        if len(counts) < 2:
            raise CodecError(f"few-shot probes need two classes in `{self.config.by}`; found {len(counts)}")
        label, fewest = min(counts.items(), key=lambda item: item[1])
        if fewest <= max(self.config.shots):
            raise CodecError(
                f"label {label!r} has {fewest} clips; {max(self.config.shots)} shots need one more at "
                "least (set probes.fewshot.shots)"
            )

    def _labelled(self, task: ProbeTask) -> list[Clip]:
        return [dataclasses.replace(clip, label=getattr(clip, self.config.by)) for clip in task.clips]

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("fewshot", settings=to_dict(self.config))
        named = self._labelled(task)
        result.skipped += [Omitted(clip.name, f"no {self.config.by}") for clip in named if not clip.label]
        clips = task.code([clip for clip in named if clip.label], result.skipped)
        result.notes += few_speakers_note([clip.speaker for clip in clips])
        result.per_clip = {clip.clip.name: {"label": clip.clip.label} for clip in clips}
        inputs = {view: clip_features(clips, view, task.tokens) for view in views(task.tokens)} if clips else {}
        measure_draws("balanced_accuracy", clips, inputs, self.config, self.config.split, task.seed, result)
        return result


def measure_draws(
    name: str,
    clips: list[CodedClip],
    inputs: Mapping[View, np.ndarray],
    config: DrawsConfig,
    split: Split,
    seed: int,
    result: ProbeResult,
) -> None:
    """Add to ``result`` the balanced accuracy from few clips of each label, for every number of shots and view.

    Args:
        name: of the measures, which end in ``_<k>_shot``.
        clips: with labels; ``speaker`` is what ``split: speaker`` and the intervals go by.
        inputs: one row per clip, ``(N, D)``, by view.
    """
    for shots in config.shots:
        draws = draw_clips(clips, shots, config.draws, split, seed)
        if len(draws) < config.draws:
            result.notes.append(f"{name}, {shots} shots: only {len(draws)} of {config.draws} draws possible")
        for view, features in inputs.items():
            if draws:
                counts = _count_correct(view, features, clips, draws, config)
                _add_measure(f"{name}_{shots}_shot", view, clips, counts, seed, result)


def _count_correct(
    view: View, features: np.ndarray, clips: list[CodedClip], draws: list[Draw], config: DrawsConfig
) -> np.ndarray:
    """``(draws, clips, classes, 2)``: correct guesses and all, of each draw's clips to test on."""
    labels = np.array([clip.clip.label for clip in clips])
    classes, which = np.unique(labels, return_inverse=True)
    counts = np.zeros((len(draws), len(clips), len(classes), 2))
    for number, draw in enumerate(draws):
        seen, new = features[draw.train], features[draw.test]
        if config.classifier == "centroid":
            guesses = nearest_centroid(view, seen, labels[draw.train], new)
        else:
            guesses = fit_predict(view, config.strength, seen, labels[draw.train], new)
        counts[number, draw.test, which[draw.test], 0] = guesses == labels[draw.test]
        counts[number, draw.test, which[draw.test], 1] = 1
    return counts


def _add_measure(
    name: str, view: View, clips: list[CodedClip], counts: np.ndarray, seed: int, result: ProbeResult
) -> None:
    by_draw = np.array([mean_of_ratios(one.sum(axis=0)) for one in counts])
    by_clip = counts.sum(axis=0)
    interval = speaker_interval(by_clip, [clip.speaker for clip in clips], mean_of_ratios, seed)
    value, chance = mean_of_ratios(by_clip.sum(axis=0)), 1 / counts.shape[2]
    result.measures.append(Finding.of(name, view, value, interval, chance, "higher", len(clips)))
    result.notes.append(
        f"{name} {view.codebooks} {view.features}: {by_draw.mean():.3f} ± {by_draw.std():.3f} "
        f"(mean and deviation of {len(counts)} draws)"
    )
    for clip, own in zip(clips, by_clip.sum(axis=1), strict=True):
        key = f"{name} {view.codebooks} {view.features}"
        result.per_clip[clip.clip.name][key] = [int(own[0]), int(own[1])]


def draw_clips(
    clips: list[CodedClip], shots: int, draws: int, split: Split, seed: int
) -> list[Draw]:
    """Stratified draws of ``shots`` clips of every class; fewer than requested when most fail.

    Each draw has its own random generator, so that a further draw leaves the others as they are.
    """
    labels = np.array([clip.clip.label for clip in clips])
    speakers = np.array([clip.speaker for clip in clips])
    found: list[Draw] = []
    for attempt in range(20 * draws):
        if len(found) == draws:
            break
        rng = np.random.default_rng([seed, attempt])
        may_train, may_test = np.ones(len(clips), bool), np.ones(len(clips), bool)
        if split == "speaker":
            names = rng.permutation(np.unique(speakers))
            may_train = np.isin(speakers, names[: len(names) // 2])
            may_test = ~may_train
        train = []
        for label in np.unique(labels):
            pool = np.flatnonzero(may_train & (labels == label))
            train += rng.permutation(pool)[:shots].tolist()
        may_test[train] = False
        whole = len(train) == shots * len(np.unique(labels))
        if whole and set(labels[may_test]) == set(labels):
            found.append(Draw(np.array(sorted(train)), np.flatnonzero(may_test)))
    return found


def folds_of(labels: np.ndarray, folds: int, seed: int) -> list[Draw]:
    """Each clip is tested once, by what was learnt from the other folds; every fold has its share of a class."""
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels)
    return [Draw(train, test) for train, test in parts]
