"""Word times from a CTC recogniser: forced when the text is known, greedy otherwise."""

from dataclasses import dataclass

import numpy as np
import torch

from codec.align.forced import force_align, greedy_spans
from codec.align.known_text import fill_gaps
from codec.align.registry import WordsConfig
from codec.align.utterance import Utterance
from codec.align.words import ClipWords, Word
from codec.encoders.hub import load_pretrained, teacher_id
from codec.encoders.waveform import WaveformEncoder, wave_extractor
from codec.errors import CodecError


@dataclass(frozen=True)
class Vocabulary:
    """Characters of a CTC model."""

    ids: dict[str, int]
    blank: int
    delimiter: int | None
    """Label between words."""

    def spell(self, word: str) -> list[int]:
        """Labels of a word, in the vocabulary's case; characters it lacks are left out."""
        spellings = [
            [self.ids[c] for c in form if c in self.ids] for form in (word, word.upper(), word.lower())
        ]
        best = max(spellings, key=len)
        return [label for label in best if label not in (self.blank, self.delimiter)]


class CtcTimer:
    """wav2vec 2.0, HuBERT or WavLM with a CTC head over characters."""

    def __init__(self, config: WordsConfig):
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
            wave_extractor(config.model, model.config),
            lambda output: output.logits,
            config.max_seconds,
        )
        self.sample_rate, self._name = self._encoder.sample_rate, teacher_id(config.model)

    def check_text(self, text: str) -> None:
        if text.split() and not any(self.vocabulary.spell(word) for word in text.split()):
            raise CodecError(f"{self._name} knows no character of {text[:40]!r}; is it of another language?")

    def words(self, batch: list[Utterance]) -> list[ClipWords]:
        """Timed words per utterance; see :class:`codec.align.registry.WordTimer`."""
        logits = self._encoder.encode([utterance.wav for utterance in batch])
        results = []
        for utterance, frames in zip(batch, logits, strict=True):
            log_probs = torch.log_softmax(frames, dim=-1).double().numpy()
            if utterance.clip.text is None:
                results.append(self._greedy(utterance, log_probs))
            else:
                results.append(self._forced(utterance, log_probs))
        return results

    def _forced(self, utterance: Utterance, log_probs: np.ndarray) -> ClipWords:
        words = utterance.clip.text.split()
        labels: list[int] = []
        ranges: list[tuple[int, int] | None] = []
        for word in words:
            spelled = self.vocabulary.spell(word)
            if spelled and labels and self.vocabulary.delimiter is not None:
                labels.append(self.vocabulary.delimiter)
            ranges.append((len(labels), len(labels) + len(spelled)) if spelled else None)
            labels += spelled
        alignment = force_align(log_probs, labels, self.vocabulary.blank)
        times = [
            item and self._times(alignment.spans[item[0]].first, alignment.spans[item[1] - 1].last)
            for item in ranges
        ]
        timed = fill_gaps(words, times, utterance.clip.seconds)
        score = float(np.exp(alignment.log_probability / len(log_probs)))
        return ClipWords(utterance.clip.name, tuple(timed), f"{self._name}:forced", score)

    def _greedy(self, utterance: Utterance, log_probs: np.ndarray) -> ClipWords:
        timed: list[Word] = []
        letters: list[str] = []
        first = last = 0
        for span in [*greedy_spans(log_probs, self.vocabulary.blank), None]:
            if span is None or span.label == self.vocabulary.delimiter:
                if letters:
                    timed.append(Word("".join(letters).lower(), *self._times(first, last)))
                letters = []
                continue
            first = first if letters else span.first
            last = span.last
            letters.append(self._characters[span.label])
        return ClipWords(utterance.clip.name, tuple(timed), f"{self._name}:greedy")

    def _times(self, first: int, last: int) -> tuple[float, float]:
        """Seconds of frames first to last - 1; each reaches half a frame around its centre."""
        rate, offset = self._encoder.rate, self._encoder.offset
        return max(0.0, offset + (first - 0.5) / rate), offset + (last - 0.5) / rate
