"""Text probe: can a small recogniser read the words off the frozen tokens?

The text alignment of SLMTokBench (Zhang et al. 2023, SpeechTokenizer), at a size for a CPU. Its
mutual-information estimate is omitted: under CTC a text that is longer than the clip has
probability zero, which makes the estimate over all pairs infinite.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jiwer
import numpy as np
import torch

from codec.align.transcript import plain_words
from codec.config import to_dict
from codec.console import counted
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.ctc import CtcConfig, CtcExample, TokenRecognizer, train_recognizer
from codec.eval.probes.registry import probe
from codec.eval.probes.sources import View
from codec.eval.probes.statistics import few_speakers_note, ratio, speaker_interval
from codec.eval.probes.types import CodedClip, Finding, Omitted, ProbeResult, ProbeTask


@probe("text")
class TextProbe:
    """WER and CER of a BiLSTM with character CTC, trained on ``train_clips`` of other speakers.

    The baseline reads the same test clips with their frames shuffled. (Empty output has WER and
    CER 1.)
    """

    resembles = ("text", "ctc")

    @dataclass(frozen=True)
    class Config:
        codebooks: list[int] = field(default_factory=lambda: [1])
        """Numbers of layers to train on, each in a separate training, e.g. [1, 8]."""
        train_clips: int = 2000
        """Limit on the training clips, drawn at random."""
        max_seconds: float = 15.0
        """Longer training clips are skipped."""
        recognizer: CtcConfig = field(default_factory=CtcConfig)

    def __init__(self, config: "TextProbe.Config"):
        self.config = config

    def check(self, task: ProbeTask) -> None:
        if not any(clip.text for clip in task.clips):
            raise CodecError("the text probe needs clips with text in the manifest")
        if not self._training_pool(task):
            raise CodecError("the text probe needs training clips with text, of speakers not tested")
        most = task.tokens.num_codebooks
        if not self.config.codebooks or not all(1 <= k <= most for k in self.config.codebooks):
            raise CodecError(f"probes.text.codebooks {self.config.codebooks}: give numbers from 1 to {most}")

    def run(self, task: ProbeTask) -> ProbeResult:
        result = ProbeResult("text", settings=to_dict(self.config))
        pool = self._training_pool(task)
        order = np.random.default_rng(task.seed).permutation(len(pool))[: self.config.train_clips]
        train = _with_text(task.code([pool[i] for i in sorted(order)], result.skipped), result.skipped)
        test = _with_text(task.code(task.clips, result.skipped), result.skipped)
        if not train or not test:
            result.notes.append("no clips with text and tokens are left: nothing measured")
            return result
        seconds = sum(clip.codes.shape[1] for clip, _ in train) / task.tokens.frame_rate
        result.notes.append(f"trained on {counted(len(train), 'clip')}, {seconds / 60:.1f} minutes")
        result.notes += few_speakers_note([clip.speaker for clip, _ in test])
        for num_codebooks in self.config.codebooks:
            self._measure(num_codebooks, train, test, task, result)
        return result

    def _training_pool(self, task: ProbeTask) -> list[Clip]:
        tested = {clip.speaker for clip in task.clips}
        return [
            clip
            for clip in task.train_clips
            if clip.text and clip.seconds <= self.config.max_seconds and clip.speaker not in tested
        ]

    def _measure(
        self,
        num_codebooks: int,
        train: list[tuple[CodedClip, str]],
        test: list[tuple[CodedClip, str]],
        task: ProbeTask,
        result: ProbeResult,
    ) -> None:
        view = View(num_codebooks, "learned embedding")
        spoken = [CtcExample(clip.codes[:num_codebooks], text) for clip, text in train]
        tokens = task.tokens
        recognizer = train_recognizer(
            self.config.recognizer, spoken, tokens.codebook_size, tokens.frame_rate, task.seed
        )
        read = _transcripts(recognizer, test, num_codebooks, shuffle_seed=None)
        shuffled = _transcripts(recognizer, test, num_codebooks, shuffle_seed=task.seed)
        references = [text for _, text in test]
        speakers = [clip.speaker for clip, _ in test]
        for name, count in (("wer", _word_errors), ("cer", _character_errors)):
            errors, base = count(references, read), count(references, shuffled)
            value, baseline = ratio(errors.sum(axis=0)), ratio(base.sum(axis=0))
            interval = speaker_interval(errors, speakers, ratio, task.seed)
            result.measures.append(Finding.of(name, view, value, interval, baseline, "lower", len(test)))
            for (clip, text), guess, (wrong, total) in zip(test, read, errors, strict=True):
                entry = result.per_clip.setdefault(clip.clip.name, {"text": text})
                entry[f"read {view.codebooks}"] = guess
                entry[f"{name} {view.codebooks} errors"] = int(wrong)
                entry[f"{name} of"] = int(total)


def _with_text(clips: list[CodedClip], skipped: list[Omitted]) -> list[tuple[CodedClip, str]]:
    kept = []
    for clip in clips:
        try:
            kept.append((clip, plain_words(clip.clip.text)))
        except CodecError as error:
            skipped.append(Omitted(clip.clip.name, str(error)))
    return kept


def _transcripts(
    recognizer: TokenRecognizer,
    test: list[tuple[CodedClip, str]],
    num_codebooks: int,
    shuffle_seed: int | None,
) -> list[str]:
    """Text of each clip, of its frames in random order when a seed is given."""
    generator = torch.Generator().manual_seed(shuffle_seed or 0)
    texts = []
    for clip, _ in test:
        codes = clip.codes[:num_codebooks]
        if shuffle_seed is not None:
            codes = codes[:, torch.randperm(codes.shape[1], generator=generator)]
        texts.append(recognizer.transcribe(codes))
    return texts


def _word_errors(references: list[str], hypotheses: list[str]) -> np.ndarray:
    """``(N, 2)``: word edits and reference words of each clip."""
    return _edits(jiwer.process_words, references, hypotheses)


def _character_errors(references: list[str], hypotheses: list[str]) -> np.ndarray:
    """``(N, 2)``: character edits and reference characters of each clip."""
    return _edits(jiwer.process_characters, references, hypotheses)


def _edits(process: Callable[..., Any], references: list[str], hypotheses: list[str]) -> np.ndarray:
    rows = []
    for reference, hypothesis in zip(references, hypotheses, strict=True):
        found = process(reference, hypothesis)
        wrong = found.substitutions + found.deletions + found.insertions
        rows.append([wrong, found.hits + found.substitutions + found.deletions])
    return np.array(rows, dtype=float)
