"""Linear probe of vectors: a frozen encoder, its frames averaged over a clip and standardised, one linear layer."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from codec.align.phones import check_aligner
from codec.config import to_dict
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.answers import finding
from codec.eval.probes.encoder_frames import Shown, all_shown
from codec.eval.probes.features import fit_predict
from codec.eval.probes.instants import STANDARDISED, Instants, phone_findings, read_instants, spoken
from codec.eval.probes.questions import Question, questions
from codec.eval.probes.registry import probe
from codec.eval.probes.statistics import few_speakers_note
from codec.eval.probes.types import Omitted, ProbeResult, ProbeTask


@probe("linear")
class LinearProbe:
    """The protocol of published encoders (HEAR, EVAR, MATPAC): frozen, averaged over time, standardised, linear.

    The classifier is multinomial logistic regression with an L2 penalty, cross-validated. Results are balanced
    accuracies, of tags the mean average precision. Phones are read from single frames, at the same instants of all
    encoders, of speakers that it did not learn from.
    """

    resembles = ("phones", "phone")
    of_encoders = True

    @dataclass(frozen=True)
    class Config:
        folds: int = 5
        strength: float = 1.0
        """Inverse weight of the L2 penalty."""
        phone_rate: float = 12.5
        """Instants per second at which phones are read, each from the frame nearest to it."""

        def __post_init__(self) -> None:
            if self.folds < 2 or self.strength <= 0 or self.phone_rate <= 0:
                raise CodecError("config probes.linear: folds must be at least 2, strength and phone_rate above 0")

    def __init__(self, config: "LinearProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        with_text = len(spoken(task.clips)) > 1
        if with_text:
            check_aligner()
        elif not questions(task.clips, self.config.folds, task.seed):
            raise CodecError(
                f"the linear probe needs two or more of `speaker` or `label` with {self.config.folds} clips each, "
                "single notes, tags, or two clips with English text"
            )

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("linear", settings=to_dict(self.config))
        clips = readable(task, result.skipped)
        asked = questions(clips, self.config.folds, task.seed)
        cache = (task.shared or task.out) / "alignments.jsonl"
        phones = read_instants(spoken(clips), self.config.phone_rate, cache, result.skipped)
        folds = _speaker_folds(phones, self.config.folds)
        for question in asked:
            result.notes += [f"{question.name}: {note}" for note in few_speakers_note(question.units)]
        for shown in all_shown(task.tokens):
            for question in asked:
                scores = self._answer(question, pooled(question, shown))
                result.measures.append(finding("linear", question, shown.view, scores, task.seed))
            if folds and shown.rate:
                result.measures += phone_findings(phones, shown, folds, self.config.strength, task.seed)
        return result

    def _answer(self, question: Question, rows: np.ndarray) -> np.ndarray:
        """``(N, C)``: how much each class is that of each clip, by what was learned from clips of other folds."""
        scores = np.zeros(question.truth.shape)
        for fold in question.folds:
            truth = question.truth[fold.train]
            if question.several:
                scores[fold.test] = self._tags(rows[fold.train], truth, rows[fold.test])
            else:
                learned, strength = truth.argmax(axis=1), self.config.strength
                guesses = fit_predict(STANDARDISED, strength, rows[fold.train], learned, rows[fold.test])
                scores[fold.test, guesses] = 1
        return scores

    def _tags(self, train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
        """Each tag is read by itself; one that all or none of the learned clips have says nothing."""
        single = OneVsRestClassifier(LogisticRegression(C=self.config.strength, max_iter=500, tol=1e-3))
        usable = np.flatnonzero(truth.any(axis=0) & ~truth.all(axis=0))
        scores = np.zeros((len(test), truth.shape[1]))
        model = make_pipeline(StandardScaler(), single).fit(train, truth[:, usable].astype(int))
        scores[:, usable] = model.decision_function(test).reshape(len(test), -1)
        return scores


def readable(task: ProbeTask, skipped: list[Omitted]) -> list[Clip]:
    """Clips that have vectors; the others are added to ``skipped``.

    Raises:
        CodecError: for a source of tokens whose vectors are not known.
    """
    shown, clips = next(all_shown(task.tokens), None), []
    if shown is None:
        raise CodecError("these tokens have neither latents nor code vectors; give codebooks")
    for clip in task.clips:
        try:
            shown.frames(clip)
        except CodecError as error:
            skipped.append(Omitted(clip.name, str(error)))
        else:
            clips.append(clip)
    return clips


def pooled(question: Question, shown: Shown) -> np.ndarray:
    """``(N, D)``: the mean over time of each clip."""
    return torch.stack([shown.pooled(clip) for clip in question.clips]).numpy()


def _speaker_folds(clips: list[Instants], folds: int) -> list[tuple[list[int], list[int]]]:
    """Clips to learn from and to test, of different speakers; none where there is one speaker."""
    groups = [clip.speaker for clip in clips]
    if len(set(groups)) < 2:
        return []
    splitter = GroupKFold(min(folds, len(set(groups))))
    return [(train.tolist(), test.tolist()) for train, test in splitter.split(groups, groups=groups)]
