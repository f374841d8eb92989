"""Phone probe: how much information the codes carry about the current phone."""

from dataclasses import dataclass

import numpy as np

from codec.align.phones import check_aligner
from codec.align.pocketsphinx import SILENCE
from codec.config import to_dict
from codec.errors import CodecError
from codec.eval.probes.features import fit_predict, frame_features, stack
from codec.eval.probes.phone_labels import LabelledClip, can_be_aligned, label_clips, speaker_folds
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import View, views
from codec.eval.probes.statistics import few_speakers_note, joint_counts, pnmi, ratio, speaker_interval
from codec.eval.probes.types import Finding, ProbeResult, ProbeTask


@probe("phone")
class PhoneProbe:
    """Frame-wise logistic regression to phones, and PNMI of the first layer.

    Labels come from forced alignment; silence counts as a phone, as in HuBERT, and each figure
    is given a second time over speech frames only. The regression is trained on other speakers:
    on ``train_clips`` with English text where there are such, else by cross-validation.
    """

    resembles = ("phones", "phone")

    @dataclass(frozen=True)
    class Config:
        train_clips: int = 200
        """Limit on the aligned training clips, drawn at random."""
        max_frames: int = 60_000
        """Limit on the frames that train the regression, drawn at random."""
        strength: float = 1.0
        """Inverse weight of the L2 penalty."""
        folds: int = 5
        shifts: int = 20
        """Random shifts of the codes that the PNMI baseline is averaged over."""

    def __init__(self, config: "PhoneProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        check_aligner()
        if sum(can_be_aligned(clip) for clip in task.clips) < 2:
            raise CodecError("the phone probe needs two clips with English text in the manifest")

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("phone", settings=to_dict(self.config))
        test = label_clips(task.clips, task, result.skipped)
        if len(test) < 2:
            result.notes.append("fewer than two clips could be aligned: nothing measured")
            return result
        result.per_clip = {clip.coded.clip.name: {"frames": len(clip.phones)} for clip in test}
        result.notes += few_speakers_note([clip.coded.speaker for clip in test])
        result.measures += self._pnmi(test, task)
        train = self._training_clips(test, task, result)
        for view in views(task.tokens):
            self._accuracy(view, train, test, task, result)
        return result

    def _training_clips(
        self, test: list[LabelledClip], task: ProbeTask, result: ProbeResult
    ) -> list[LabelledClip]:
        """Labelled clips of other speakers; none when the test clips are cross-validated."""
        tested = {clip.coded.clip.speaker for clip in test}
        pool = [c for c in task.train_clips if can_be_aligned(c) and c.speaker not in tested]
        order = np.random.default_rng(task.seed).permutation(len(pool))[: self.config.train_clips]
        train = label_clips([pool[i] for i in sorted(order)], task, result.skipped)
        if train:
            result.notes.append(f"regression trained on {len(train)} training clips")
        else:
            unit = "speakers" if len(tested) > 1 else "clips of the one speaker"
            result.notes.append(f"regression cross-validated over {unit}")
        return train

    def _pnmi(self, test: list[LabelledClip], task: ProbeTask) -> list[Finding]:
        phones = np.concatenate([clip.phones for clip in test])
        codes = np.concatenate([clip.coded.codes[0].numpy() for clip in test])
        owner = np.repeat(np.arange(len(test)), [len(clip.phones) for clip in test])
        measures = []
        for name, keep in (("pnmi", np.ones(len(phones), bool)), ("pnmi_speech", phones != SILENCE)):
            joint = joint_counts(phones[keep], codes[keep], owner[keep], len(test))
            value = pnmi(joint.sum(axis=0))
            interval = speaker_interval(joint, _speakers(test), pnmi, task.seed, recentre=True)
            baseline = self._shifted_pnmi(phones[keep], codes[keep], task.seed)
            view = View(1, "one-hot")
            measures.append(Finding.of(name, view, value, interval, baseline, "higher", len(test)))
        return measures

    def _shifted_pnmi(self, phones: np.ndarray, codes: np.ndarray, seed: int) -> float:
        """PNMI with the codes shifted in a circle.

        A shift cuts the link between code and phone but keeps how long each lasts, so it shows
        the whole small-sample bias; a shuffle of single frames would show too little of it.
        """
        rng = np.random.default_rng(seed)
        shifts = rng.integers(len(codes), size=self.config.shifts)
        one = np.zeros(len(codes), dtype=int)
        return float(np.mean([pnmi(joint_counts(phones, np.roll(codes, s), one, 1)[0]) for s in shifts]))

    def _accuracy(
        self,
        view: View,
        train: list[LabelledClip],
        test: list[LabelledClip],
        task: ProbeTask,
        result: ProbeResult,
    ) -> None:
        labels = [clip.phones for clip in test]
        guesses, majority = self._predict(view, train, test, task)
        for name, left_out in (("phone_accuracy", None), ("phone_accuracy_speech", SILENCE)):
            counts, base = _correct(labels, guesses, left_out), _correct(labels, majority, left_out)
            value, baseline = ratio(counts.sum(axis=0)), ratio(base.sum(axis=0))
            interval = speaker_interval(counts, _speakers(test), ratio, task.seed)
            result.measures.append(Finding.of(name, view, value, interval, baseline, "higher", len(test)))
            for clip, (correct, _) in zip(test, counts, strict=True):
                key = f"{name} {view.codebooks} {view.features}"
                result.per_clip[clip.coded.clip.name][key] = int(correct)

    def _predict(
        self, view: View, train: list[LabelledClip], test: list[LabelledClip], task: ProbeTask
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The predicted phones of each test clip, and the commonest phone of its training data."""
        if train:
            folds = [(train, list(range(len(test))))]
        else:
            split = speaker_folds(test, self.config.folds)
            folds = [([test[i] for i in fit_on], held_out) for fit_on, held_out in split]
        guesses, majority = {}, {}
        for fit_on, held_out in folds:
            inputs = stack([frame_features(clip.coded.codes, view, task.tokens) for clip in fit_on])
            labels = np.concatenate([clip.phones for clip in fit_on])
            if len(labels) > self.config.max_frames:
                rng = np.random.default_rng(task.seed)
                chosen = rng.permutation(len(labels))[: self.config.max_frames]
                inputs, labels = inputs[chosen], labels[chosen]
            unseen = stack([frame_features(test[i].coded.codes, view, task.tokens) for i in held_out])
            predicted = fit_predict(view, self.config.strength, inputs, labels, unseen)
            symbols, often = np.unique(labels, return_counts=True)
            cuts = np.cumsum([len(test[i].phones) for i in held_out])[:-1]
            for i, guess in zip(held_out, np.split(predicted, cuts), strict=True):
                guesses[i] = guess
                majority[i] = np.full(len(guess), symbols[often.argmax()])
        return [guesses[i] for i in range(len(test))], [majority[i] for i in range(len(test))]


def _speakers(clips: list[LabelledClip]) -> list[str]:
    return [clip.coded.speaker for clip in clips]


def _correct(
    labels: list[np.ndarray], guesses: list[np.ndarray], left_out: str | None
) -> np.ndarray:
    """``(N, 2)``: correct frames and all frames of each clip, without those of one phone."""
    rows = []
    for truth, guess in zip(labels, guesses, strict=True):
        counted = np.ones(len(truth), bool) if left_out is None else truth != left_out
        rows.append([np.sum((truth == guess) & counted), np.sum(counted)])
    return np.array(rows, dtype=float)
