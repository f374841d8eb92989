"""Words timed by a Whisper: of transformers, or in CTranslate2's format for faster-whisper.

Both recognise, and a known text takes the times of the recognised words. faster-whisper can do better: a
known text that fits one window needs no recognition. The encoder runs once over the clip and the decoder
once over the text, whose cross-attention says when each token was spoken. This is a dozen times faster
than recognising, and the words are the right ones.
"""

import abc
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np

from codec.align.registry import Aligner, ModelAlignerConfig, aligner
from codec.align.transcript import fill_gaps, tighten, transfer_times
from codec.align.types import Alignment, Interval, Utterance
from codec.encoders.hub import load_pretrained, locate, reachable, teacher_id
from codec.errors import CodecError

WINDOW = 30.0
"""Seconds of Whisper's window."""
TAIL = 1.0
"""Seconds of silence after a clip; without any, Whisper loses the last word."""
MAX_TOKENS = 400
"""Text tokens that Whisper's decoder holds (448) less its prompt."""
TOKENS_PER_SECOND = 50


class _OneByOne(Aligner):
    """What both have in common."""

    unit = "words"

    def check_text(self, text: str) -> None:
        """Whisper's bytes spell any text."""

    def align(self, batch: list[Utterance]) -> list[Alignment]:
        """Timed words per utterance; see :class:`codec.align.registry.Aligner`."""
        return [self._one(utterance) for utterance in batch]

    @abc.abstractmethod
    def _one(self, utterance: Utterance) -> Alignment:
        """The words of one utterance."""


@dataclass(frozen=True)
class WhisperConfig(ModelAlignerConfig):
    """Options of the aligner ``whisper``."""

    type: Literal["whisper"] = "whisper"
    language: str | None = None
    """Language of clips whose manifest line has none; null lets Whisper detect it."""


@aligner("whisper")
class WhisperAligner(_OneByOne):
    """A Whisper for ``transformers``' recognition pipeline, which cuts and stitches long audio."""

    Config = WhisperConfig

    def __init__(self, config: WhisperConfig):
        from transformers import WhisperForConditionalGeneration, WhisperProcessor, pipeline

        model = load_pretrained(WhisperForConditionalGeneration, config.model).eval()
        if getattr(model.generation_config, "alignment_heads", None) is None:
            raise CodecError(
                f"{config.model}: its generation config has no alignment_heads, so it gives no word timestamps"
            )
        processor = load_pretrained(WhisperProcessor, config.model)
        self._pipeline = pipeline(
            "automatic-speech-recognition",
            model=model,
            tokenizer=processor.tokenizer,
            feature_extractor=processor.feature_extractor,
            device=config.device,
        )
        self._multilingual = getattr(model.generation_config, "is_multilingual", True)
        self.sample_rate = processor.feature_extractor.sampling_rate
        self._language, self._name = config.language, teacher_id(config.model)

    def _one(self, utterance: Utterance) -> Alignment:
        clip, wav = utterance.clip, utterance.audio
        language = clip.language or self._language
        options = {"language": language, "task": "transcribe"} if self._multilingual and language else {}
        output: Any = self._pipeline(
            {"raw": wav.numpy(), "sampling_rate": self.sample_rate},
            return_timestamps="word",
            chunk_length_s=30 if len(wav) > 30 * self.sample_rate else 0,
            generate_kwargs=options,
        )
        timed = []
        for chunk in output["chunks"]:
            start, end = chunk["timestamp"]
            if chunk["text"].strip() and start is not None:
                timed.append(Interval(chunk["text"].strip(), start, clip.seconds if end is None else end))
        source = "recognised"
        if clip.text is not None:
            timed, source = transfer_times(clip.text, timed, clip.seconds), "transferred"
        return Alignment(clip.name, tuple(tighten(timed, wav, self.sample_rate)), f"{self._name}:{source}")


@dataclass(frozen=True)
class FasterWhisperConfig(ModelAlignerConfig):
    """Options of the aligner ``faster_whisper``."""

    type: Literal["faster_whisper"] = "faster_whisper"
    language: str | None = None
    """Language of clips whose manifest line has none; null lets Whisper detect it."""
    compute_type: str = "int8"
    """CTranslate2's compute type."""


@aligner("faster_whisper")
class FasterWhisperAligner(_OneByOne):
    """A hub id or folder that faster-whisper loads."""

    Config = FasterWhisperConfig
    sample_rate = 16_000

    def __init__(self, config: FasterWhisperConfig):
        try:
            import ctranslate2
            from faster_whisper import WhisperModel
            from transformers import WhisperFeatureExtractor
        except ImportError as error:
            raise CodecError(
                f"words.type=faster_whisper needs the package {error.name}; pip install 'codec[eval]'"
            ) from None
        folder = locate(config.model)
        if "/" in folder:  # else it is a size that faster-whisper knows
            reachable(folder)
        try:
            self._model = WhisperModel(
                folder, device=config.device, compute_type=config.compute_type, cpu_threads=1
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise CodecError(f"{config.model}: faster-whisper cannot load it ({error})") from None
        self._upload = ctranslate2.StorageView.from_array
        mels = self._model.model.n_mels
        self._extractor = WhisperFeatureExtractor(feature_size=mels)
        self._tokenizer = self._model.hf_tokenizer
        self._language, self._name = config.language, teacher_id(config.model)

    def _one(self, utterance: Utterance) -> Alignment:
        clip, wav = utterance.clip, utterance.audio
        language = clip.language or self._language
        if clip.text is not None and not clip.text.split():
            return Alignment(clip.name, (), f"{self._name}:empty")
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
        recognised = [word for segment in segments for word in segment.words]
        timed = [
            Interval(word.word.strip(), float(word.start), float(word.end))
            for word in recognised
            if word.word.strip()
        ]
        source = "recognised"
        if clip.text is not None:
            timed, source = transfer_times(clip.text, timed, clip.seconds), "transferred"
        score = float(np.mean([word.probability for word in recognised])) if recognised else None
        timed = tighten(timed, wav, self.sample_rate)
        return Alignment(clip.name, tuple(timed), f"{self._name}:{source}", score)

    def _forced(self, utterance: Utterance, tokens: list[list[int]], language: str) -> Alignment:
        wav = utterance.audio
        samples = round((len(wav) / self.sample_rate + TAIL) * 100) * 160
        mel = self._extractor(
            wav.numpy(), sampling_rate=self.sample_rate, max_length=samples, return_tensors="np"
        ).input_features
        encoded = self._model.model.encode(self._upload(np.ascontiguousarray(mel)))
        result = self._model.model.align(
            encoded, self._prompt(language), [list(chain(*tokens))], len(wav) // 160, median_filter_width=7
        )[0]
        starts = _token_starts(result.alignments)
        end = len(wav) / self.sample_rate
        words, times, position = utterance.text.split(), [], 0
        for word_tokens in tokens:
            following = position + len(word_tokens)
            start = starts.get(position)
            times.append(None if start is None else (start, starts.get(following, end)))
            position = following
        timed = tighten(fill_gaps(words, times, end), wav, self.sample_rate)
        score = float(np.mean(result.text_token_probs))
        return Alignment(utterance.clip.name, tuple(timed), f"{self._name}:forced", score)

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
