"""Word times from a Whisper in CTranslate2's format: the known text aligned by cross-attention.

A known text that fits one window needs no recognition: the encoder runs once over the clip and the
decoder once over the text, whose attention says when each token was spoken. This is a dozen times
faster than recognising, and the words are the right ones. Other clips are recognised by
faster-whisper; if their text is known, it takes the recognised words' times.
"""

from itertools import chain

import ctranslate2
import numpy as np
from faster_whisper import WhisperModel
from transformers import WhisperFeatureExtractor

from codec.align.known_text import fill_gaps, transfer_times
from codec.align.loudness import tighten
from codec.align.registry import WordsConfig
from codec.align.utterance import Utterance
from codec.align.words import ClipWords, Word
from codec.encoders.hub import locate, teacher_id
from codec.errors import CodecError

WINDOW = 30.0
"""Seconds of Whisper's window."""
TAIL = 1.0
"""Seconds of silence after a clip; without any, Whisper loses the last word."""
MAX_TOKENS = 400
"""Text tokens that Whisper's decoder holds (448) less its prompt."""
TOKENS_PER_SECOND = 50


class CTranslateTimer:
    """A folder that faster-whisper loads."""

    sample_rate = 16_000

    def __init__(self, config: WordsConfig):
        folder = locate(config.model)
        try:
            self._model = WhisperModel(
                folder, device=config.device, compute_type=config.compute_type, cpu_threads=1
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise CodecError(f"{config.model}: faster-whisper cannot load it ({error})") from None
        mels = self._model.model.n_mels
        self._extractor = WhisperFeatureExtractor(feature_size=mels)
        self._tokenizer = self._model.hf_tokenizer
        self._language, self._name = config.language, teacher_id(config.model)

    def check_text(self, text: str) -> None:
        """Whisper's bytes spell any text."""

    def words(self, batch: list[Utterance]) -> list[ClipWords]:
        """Timed words per utterance; see :class:`codec.align.registry.WordTimer`."""
        return [self._one(utterance) for utterance in batch]

    def _one(self, utterance: Utterance) -> ClipWords:
        clip, wav = utterance.clip, utterance.wav
        language = clip.language or self._language
        if clip.text is not None and not clip.text.split():
            return ClipWords(clip.name, (), f"{self._name}:empty")
        if clip.text and language and len(wav) <= (WINDOW - TAIL) * self.sample_rate:
            tokens = [self._tokens(word) for word in clip.text.split()]
            if sum(map(len, tokens)) <= MAX_TOKENS:
                return self._forced(utterance, tokens, language)
        segments, _ = self._model.transcribe(
            wav.numpy(),
            language=language,
            word_timestamps=True,
            beam_size=2,
            condition_on_previous_text=False,
        )
        heard = [word for segment in segments for word in segment.words]
        timed = [
            Word(word.word.strip(), float(word.start), float(word.end)) for word in heard if word.word.strip()
        ]
        source = "recognised"
        if clip.text is not None:
            timed, source = transfer_times(clip.text, timed, clip.seconds), "transferred"
        score = float(np.mean([word.probability for word in heard])) if heard else None
        timed = tighten(timed, wav, self.sample_rate)
        return ClipWords(clip.name, tuple(timed), f"{self._name}:{source}", score)

    def _forced(self, utterance: Utterance, tokens: list[list[int]], language: str) -> ClipWords:
        wav = utterance.wav
        samples = round((len(wav) / self.sample_rate + TAIL) * 100) * 160
        mel = self._extractor(
            wav.numpy(), sampling_rate=self.sample_rate, max_length=samples, return_tensors="np"
        ).input_features
        encoded = self._model.model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(mel)))
        result = self._model.model.align(
            encoded, self._prompt(language), [list(chain(*tokens))], len(wav) // 160, median_filter_width=7
        )[0]
        starts = _token_starts(result.alignments)
        end = len(wav) / self.sample_rate
        words, times, position = utterance.clip.text.split(), [], 0
        for word_tokens in tokens:
            following = position + len(word_tokens)
            start = starts.get(position)
            times.append(None if start is None else (start, starts.get(following, end)))
            position = following
        timed = tighten(fill_gaps(words, times, end), wav, self.sample_rate)
        score = float(np.mean(result.text_token_probs))
        return ClipWords(utterance.clip.name, tuple(timed), f"{self._name}:forced", score)

    def _tokens(self, word: str) -> list[int]:
        return self._tokenizer.encode(" " + word, add_special_tokens=False).ids

    def _prompt(self, language: str) -> list[int]:
        names = ["<|startoftranscript|>", f"<|{language}|>", "<|transcribe|>", "<|notimestamps|>"]
        ids = [self._tokenizer.token_to_id(name) for name in names]
        if ids[1] is None:
            raise CodecError(f"Whisper knows no language {language!r}; set the manifest's or words.language")
        return ids


def _token_starts(alignments: list[tuple[int, int]]) -> dict[int, float]:
    """Second at which each text token begins, from (token, frame) pairs."""
    starts: dict[int, float] = {}
    for token, frame in alignments:
        starts.setdefault(token, frame / TOKENS_PER_SECOND)
    return starts
