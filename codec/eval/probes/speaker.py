"""Speaker probe: how well the tokens give the speaker away."""

from collections import Counter
from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.model_selection import StratifiedKFold

from codec.config import to_dict
from codec.errors import CodecError
from codec.eval.probes.features import clip_features, fit_predict
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import View, views
from codec.eval.probes.statistics import few_speakers_note, ratio, speaker_interval
from codec.eval.probes.types import CodedClip, Finding, Omitted, ProbeResult, ProbeTask


@probe("speaker")
class SpeakerProbe:
    """Closed-set speaker identification from whole clips, cross-validated over clips.

    Each fold holds out a share of every speaker's clips. A clip is the histogram of its codes, or
    its mean code vector; the probe is linear. The baseline always names the speaker with most clips.
    """

    @dataclass(frozen=True)
    class Config:
        folds: int = 5
        strength: float = 100.0
        """Inverse weight of the L2 penalty."""
        good: Literal["low", "high"] = "low"
        """``low``: RVQ-1 should not give the voice away, and deeper layers may. ``high``: tokens should keep it."""

    def __init__(self, config: "SpeakerProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        counts = Counter(clip.speaker for clip in task.clips if clip.speaker)
        if sum(count >= 2 for count in counts.values()) < 2:
            raise CodecError("the speaker probe needs two speakers with two clips each in the manifest")

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("speaker", settings=to_dict(self.config))
        clips = self._clips(task, result.skipped)
        names = [clip.speaker for clip in clips]
        speakers = np.array(names)
        if len(set(speakers)) < 2:
            result.notes.append("fewer than two speakers are left: nothing measured")
            return result
        result.notes += few_speakers_note(names)
        counts = Counter(speakers)
        majority = max(counts.values()) / len(clips)
        folds = StratifiedKFold(min(self.config.folds, *counts.values()), shuffle=True, random_state=task.seed)
        for view in views(task.tokens):
            features = clip_features(clips, view, task.tokens)
            guesses = np.empty_like(speakers)
            for train, test in folds.split(features, speakers):
                guesses[test] = fit_predict(
                    view, self.config.strength, features[train], speakers[train], features[test]
                )
            correct = np.stack([guesses == speakers, np.ones(len(clips))], axis=1)
            interval = speaker_interval(correct, names, ratio, task.seed)
            value = ratio(correct.sum(axis=0))
            result.measures.append(
                Finding.of("speaker_accuracy", view, value, interval, majority, self._better(view), len(clips))
            )
            for clip, guess in zip(clips, guesses, strict=True):
                entry = result.per_clip.setdefault(clip.clip.name, {"speaker": clip.speaker})
                entry[f"guess {view.codebooks} {view.features}"] = str(guess)
        return result

    def _better(self, view: View) -> str:
        if self.config.good == "high":
            return "higher"
        return "lower" if view.num_codebooks == 1 else "neither"

    def _clips(self, task: ProbeTask, skipped: list[Omitted]) -> list[CodedClip]:
        named = [clip for clip in task.clips if clip.speaker]
        skipped += [Omitted(clip.name, "no speaker") for clip in task.clips if not clip.speaker]
        coded = task.code(named, skipped)
        counts = Counter(clip.speaker for clip in coded)
        skipped += [Omitted(c.clip.name, "the only clip of its speaker") for c in coded if counts[c.speaker] < 2]
        return [clip for clip in coded if counts[clip.speaker] >= 2]
