"""Language-model probe: how hard are the tokens to predict, in bits a frame of clips that were not counted?

Tokens that carry the same speech in fewer bits leave a language model less to learn, so that this is what one
chooses a tokenizer by. N-grams of counts stand in for a trained model: they need seconds, and have no seed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from codec.config import to_dict
from codec.console import counted
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import View
from codec.eval.probes.statistics import few_speakers_note, ratio, speaker_interval
from codec.eval.probes.types import CodedClip, Finding, ProbeResult, ProbeTask
from codec.tokens.ngrams import NGramModel

_NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}


def ngram_name(order: int) -> str:
    """What n-grams of that order are called."""
    return _NAMES.get(order, f"{order}-gram")


@probe("lm")
class LanguageModelProbe:
    """Bits a frame under unigrams, bigrams and a smoothed n-gram that were counted on ``train_clips``.

    The baseline is the cost of codes that are all alike probable. Bits a second compare tokenizers of different
    frame rates.
    """

    @dataclass(frozen=True)
    class Config:
        order: int = 3
        """Of the longest n-gram, 2 or more; interpolated with all shorter ones (Kneser-Ney)."""
        train_clips: int = 2000
        """Limit on the clips that are counted, drawn at random."""

    def __init__(self, config: "LanguageModelProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        if self.config.order < 2 or self.config.train_clips < 1:
            raise CodecError("probes.lm: order must be 2 or more, train_clips 1 or more")
        if not self._pool(task):
            raise CodecError("the lm probe needs training clips (probe_train), of speakers not tested")

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("lm", settings=to_dict(self.config))
        pool = self._pool(task)
        order = np.random.default_rng(task.seed).permutation(len(pool))[: self.config.train_clips]
        train = task.code([pool[i] for i in sorted(order)], result.skipped)
        test = task.code(task.clips, result.skipped)
        if not train or not test:
            result.notes.append("no clips with tokens are left: nothing measured")
            return result
        seconds = sum(clip.codes.shape[1] for clip in train) / task.tokens.frame_rate
        result.notes.append(f"counted on {counted(len(train), 'clip')}, {seconds / 60:.1f} minutes")
        result.notes += few_speakers_note([clip.speaker for clip in test])
        for num_codebooks in sorted({1, task.tokens.num_codebooks}):
            result.measures += self._measures(View(num_codebooks, "codes"), train, test, task, result)
        return result

    def _pool(self, task: ProbeTask) -> list[Clip]:
        tested = {clip.speaker for clip in task.clips if clip.speaker}
        files = {clip.audio for clip in task.clips}
        return [clip for clip in task.train_clips if clip.speaker not in tested and clip.audio not in files]

    def _measures(
        self, view: View, train: Sequence[CodedClip], test: Sequence[CodedClip], task: ProbeTask, result: ProbeResult
    ) -> Iterator[Finding]:
        layers, size = view.num_codebooks, task.tokens.codebook_size
        counted_codes = [clip.codes[:layers].numpy() for clip in train]
        speakers = [clip.speaker for clip in test]
        for order in sorted({1, 2, self.config.order}):
            model = NGramModel(counted_codes, [size] * layers, order)
            costs = np.array([[model.bits(c.codes[:layers].numpy()).sum(), c.codes.shape[1]] for c in test])
            uniform = layers * np.log2(size)
            name = f"{ngram_name(order)}_bits_per"
            for clip, (bits, frames) in zip(test, costs, strict=True):
                kept = result.per_clip.setdefault(clip.clip.name, {"frames": int(frames)})
                kept[f"{ngram_name(order)} bits of codebooks {view.codebooks}"] = float(bits)
            for unit, rate in (("frame", 1.0), ("second", task.tokens.frame_rate)):
                scaled = costs * [rate, 1]
                interval = speaker_interval(scaled, speakers, ratio, task.seed)
                value = ratio(scaled.sum(axis=0))
                yield Finding.of(f"{name}_{unit}", view, value, interval, uniform * rate, "lower", len(test))
