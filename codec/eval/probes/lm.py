"""Language-model probe: how hard are the tokens to predict, in bits a frame of clips that were not counted?

Tokens that carry the same speech in fewer bits leave a language model less to learn, so that this is what one
chooses a tokenizer by. A small model is trained on a fixed budget; n-grams of counts, which need seconds and have no
seed, are what it has to beat.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from codec.config import to_dict
from codec.console import counted
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import View
from codec.eval.probes.statistics import few_speakers_note, ratio, speaker_interval
from codec.eval.probes.token_lm import TokenLmConfig, train_token_lm
from codec.eval.probes.types import CodedClip, Finding, ProbeResult, ProbeTask
from codec.tokens.ngrams import NGramModel

_NAMES = {1: "unigram", 2: "bigram", 3: "trigram"}


def ngram_name(order: int) -> str:
    """What n-grams of that order are called."""
    return _NAMES.get(order, f"{order}-gram")


@probe("lm")
class LanguageModelProbe:
    """Bits a frame under unigrams, bigrams, a smoothed n-gram and a small language model, all of ``train_clips``.

    The baseline is the cost of codes that are all alike probable. Bits a second compare tokenizers of different
    frame rates.
    """

    @dataclass(frozen=True)
    class Config:
        order: int = 3
        """Of the longest n-gram, 2 or more; interpolated with all shorter ones (Kneser-Ney)."""
        train_clips: int = 2000
        """Limit on the clips that are counted and learned from, drawn at random."""
        max_codebooks: int = 8
        """Limit on the codebooks; the first ones are taken."""
        model: TokenLmConfig = field(default_factory=TokenLmConfig)

    def __init__(self, config: "LanguageModelProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        if self.config.order < 2 or min(self.config.train_clips, self.config.max_codebooks) < 1:
            raise CodecError("probes.lm: order must be 2 or more, train_clips and max_codebooks 1 or more")
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
        result.notes.append(self._budget(train, task))
        result.notes += few_speakers_note([clip.speaker for clip in test])
        for num_codebooks in sorted({1, min(task.tokens.num_codebooks, self.config.max_codebooks)}):
            result.measures += self._measures(View(num_codebooks, "codes"), train, test, task, result)
        return result

    def _budget(self, train: Sequence[CodedClip], task: ProbeTask) -> str:
        frames = sum(clip.codes.shape[1] for clip in train)
        text = f"counted on {counted(len(train), 'clip')}, {frames / task.tokens.frame_rate / 60:.1f} minutes"
        if not (model := self.config.model).steps:
            return text
        seen = model.steps * model.batch_size * min(model.frames, frames)
        return f"{text}; the language model saw {seen} frames in {model.steps} steps, {seen / frames:.2g} times all"

    def _pool(self, task: ProbeTask) -> list[Clip]:
        tested = {clip.speaker for clip in task.clips if clip.speaker}
        files = {clip.audio for clip in task.clips}
        return [clip for clip in task.train_clips if clip.speaker not in tested and clip.audio not in files]

    def _measures(
        self, view: View, train: Sequence[CodedClip], test: Sequence[CodedClip], task: ProbeTask, result: ProbeResult
    ) -> Iterator[Finding]:
        speakers = [clip.speaker for clip in test]
        for name, bits in self._models(view, train, task):
            costs = np.array([[bits(c.codes[: view.num_codebooks]).sum(), c.codes.shape[1]] for c in test])
            uniform = np.log2(task.tokens.codebook_sizes[: view.num_codebooks]).sum()
            for clip, (cost, frames) in zip(test, costs, strict=True):
                kept = result.per_clip.setdefault(clip.clip.name, {"frames": int(frames)})
                kept[f"{name} bits of codebooks {view.codebooks}"] = float(cost)
            for unit, rate in (("frame", 1.0), ("second", task.tokens.frame_rate)):
                scaled = costs * [rate, 1]
                interval = speaker_interval(scaled, speakers, ratio, task.seed)
                value = ratio(scaled.sum(axis=0))
                yield Finding.of(
                    f"{name}_bits_per_{unit}", view, value, interval, uniform * rate, "lower", len(test)
                )

    def _models(
        self, view: View, train: Sequence[CodedClip], task: ProbeTask
    ) -> Iterator[tuple[str, Callable[[Tensor], np.ndarray]]]:
        """Names, and what gives the bits of a clip ``(K, T)`` by codebook."""
        size, clips = task.tokens.codebook_size, [clip.codes[: view.num_codebooks] for clip in train]
        if self.config.model.steps:
            yield "lm", train_token_lm(self.config.model, clips, size, task.seed).bits
        for order in sorted({1, 2, self.config.order}):
            sizes = task.tokens.codebook_sizes[: view.num_codebooks]
            model = NGramModel([codes.numpy() for codes in clips], sizes, order)
            yield ngram_name(order), _of_tensors(model)


def _of_tensors(model: NGramModel) -> Callable[[Tensor], np.ndarray]:
    return lambda codes: model.bits(codes.numpy())
