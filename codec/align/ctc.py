"""Words timed by a CTC recogniser: forced (Viterbi) when the text is known, greedy otherwise."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch

from codec.align.registry import Aligner, ModelAlignerConfig, aligner
from codec.align.transcript import fill_gaps
from codec.align.types import Alignment, Interval, Utterance
from codec.encoders.hub import load_pretrained, teacher_id
from codec.encoders.waveform import WaveformEncoder, wave_extractor
from codec.errors import CodecError


@dataclass(frozen=True)
class Span:
    """A label on frames ``first`` to ``last - 1``."""

    label: int
    first: int
    last: int


@dataclass(frozen=True)
class Path:
    """A path of CTC: one span per label of the sequence, in order, and the log-probability."""

    spans: tuple[Span, ...]
    log_probability: float


@dataclass(frozen=True)
class Vocabulary:
    """Characters of a CTC model."""

    ids: dict[str, int]
    blank: int
    delimiter: int | None
    """Label between words."""

    def spell(self, word: str) -> list[int]:
        """Labels of a word, in the vocabulary's case; characters it lacks are dropped."""
        spellings = [
            [self.ids[c] for c in form if c in self.ids] for form in (word, word.upper(), word.lower())
        ]
        best = max(spellings, key=len)
        return [label for label in best if label not in (self.blank, self.delimiter)]


@dataclass(frozen=True)
class CtcConfig(ModelAlignerConfig):
    """Options of the aligner ``ctc``."""

    type: Literal["ctc"] = "ctc"
    max_seconds: float = 30.0
    """Longer audio is cut at its quietest places."""


@aligner("ctc")
class CtcAligner(Aligner):
    """wav2vec 2.0, HuBERT or WavLM with a CTC head over characters."""

    Config = CtcConfig
    unit = "words"

    def __init__(self, config: CtcConfig):
        from transformers import AutoModelForCTC, AutoTokenizer

        model = load_pretrained(AutoModelForCTC, config.model).eval().requires_grad_(False)
        tokenizer = load_pretrained(AutoTokenizer, config.model)
        delimiter = getattr(tokenizer, "word_delimiter_token", None)
        ids = tokenizer.get_vocab()
        if tokenizer.pad_token_id is None:
            raise CodecError(f"{config.model}: its tokenizer has no pad token, so no CTC blank")
        self.vocabulary = Vocabulary(ids, tokenizer.pad_token_id, ids.get(delimiter))
        self._characters = {label: text for text, label in ids.items()}
        self._encoder = WaveformEncoder(
            model.to(config.device),
            wave_extractor(config.model),
            lambda output: output.logits,
            config.max_seconds,
        )
        self.sample_rate, self._name = self._encoder.sample_rate, teacher_id(config.model)

    def check_text(self, text: str) -> None:
        if text.split() and not any(self.vocabulary.spell(word) for word in text.split()):
            raise CodecError(f"{self._name} knows no character of {text[:40]!r}; is it of another language?")

    def align(self, batch: list[Utterance]) -> list[Alignment]:
        """Timed words per utterance; see :class:`codec.align.registry.Aligner`."""
        logits = self._encoder.encode([utterance.audio for utterance in batch])
        results = []
        for utterance, frames in zip(batch, logits, strict=True):
            log_probs = torch.log_softmax(frames, dim=-1).double().numpy()
            if utterance.clip.text is None:
                results.append(self._greedy(utterance, log_probs))
            else:
                results.append(self._forced(utterance, log_probs))
        return results

    def _forced(self, utterance: Utterance, log_probs: np.ndarray) -> Alignment:
        words = utterance.text.split()
        labels: list[int] = []
        ranges: list[tuple[int, int] | None] = []
        for word in words:
            spelled = self.vocabulary.spell(word)
            if spelled and labels and self.vocabulary.delimiter is not None:
                labels.append(self.vocabulary.delimiter)
            ranges.append((len(labels), len(labels) + len(spelled)) if spelled else None)
            labels += spelled
        path = force_align(log_probs, labels, self.vocabulary.blank)
        times = [
            item and self._times(path.spans[item[0]].first, path.spans[item[1] - 1].last) for item in ranges
        ]
        timed = fill_gaps(words, times, utterance.clip.seconds)
        score = float(np.exp(path.log_probability / len(log_probs)))
        return Alignment(utterance.clip.name, tuple(timed), f"{self._name}:forced", score)

    def _greedy(self, utterance: Utterance, log_probs: np.ndarray) -> Alignment:
        timed: list[Interval] = []
        letters: list[str] = []
        first = last = 0
        for span in [*greedy_spans(log_probs, self.vocabulary.blank), None]:
            if span is None or span.label == self.vocabulary.delimiter:
                if letters:
                    timed.append(Interval("".join(letters).lower(), *self._times(first, last)))
                letters = []
                continue
            first = first if letters else span.first
            last = span.last
            letters.append(self._characters[span.label])
        return Alignment(utterance.clip.name, tuple(timed), f"{self._name}:greedy")

    def _times(self, first: int, last: int) -> tuple[float, float]:
        """Seconds of frames first to last - 1; each reaches half a frame around its centre."""
        rate, offset = self._encoder.rate, self._encoder.offset
        return max(0.0, offset + (first - 0.5) / rate), offset + (last - 0.5) / rate


def force_align(log_probs: np.ndarray, labels: list[int], blank: int) -> Path:
    """The most probable CTC path that spells ``labels``.

    States are blank, label 1, blank, label 2, ..., blank (Graves et al. 2006, section 4.1); a path may
    stay, advance by one, or skip a blank between two different labels.

    Args:
        log_probs: ``(T, C)``.

    Raises:
        CodecError: when T frames cannot hold the labels.
    """
    num_frames, needed = len(log_probs), len(labels) + sum(a == b for a, b in pairwise(labels))
    if num_frames < needed:
        raise CodecError(
            f"{num_frames} frames cannot hold {needed} labels; the text is longer than the audio"
        )
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    may_skip = np.zeros(len(states), dtype=bool)
    may_skip[2:] = (states[2:] != blank) & (states[2:] != states[:-2])
    score = np.full(len(states), -np.inf)
    score[:2] = log_probs[0, states[:2]]
    steps = np.zeros((num_frames, len(states)), dtype=np.int8)
    for frame in range(1, num_frames):
        options = np.full((3, len(states)), -np.inf)
        options[0] = score
        options[1, 1:] = score[:-1]
        options[2, 2:] = np.where(may_skip[2:], score[:-2], -np.inf)
        steps[frame] = options.argmax(axis=0)
        score = options.max(axis=0) + log_probs[frame, states]
    state = len(states) - 1
    if len(states) > 1 and score[-2] > score[-1]:
        state -= 1
    return Path(_trace(steps, states, state), float(score[state]))


def greedy_spans(log_probs: np.ndarray, blank: int) -> list[Span]:
    """Labels of the most probable frames ``(T, C)``, repeats merged and blanks dropped."""
    best = log_probs.argmax(axis=1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    runs = pairwise(edges)
    return [Span(int(best[a]), int(a), int(b)) for a, b in runs if best[a] != blank]


def _trace(steps: np.ndarray, states: np.ndarray, state: int) -> tuple[Span, ...]:
    """Walk back from the last frame; odd states are labels."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for frame in range(len(steps) - 1, -1, -1):
        if state % 2:
            last.setdefault(state, frame + 1)
            first[state] = frame
        state -= int(steps[frame, state])
    return tuple(Span(int(states[s]), first[s], last[s]) for s in sorted(first))
