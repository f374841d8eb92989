"""Word error rate and word information lost of a recogniser's transcript; recognisers that the user names."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from codec.errors import CodecError
from codec.eval.measures.base import Column, Measure, MetricSettings
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip

Count = TypeVar("Count", float, np.ndarray)
Recogniser = Callable[[np.ndarray, str], str]
"""``(T,)`` float32 at 16 kHz, and its language, to its words."""


@dataclass(frozen=True)
class WordCounts:
    """Word counts of the alignment of a transcript with the reference text."""

    hits: int
    errors: int
    reference_words: int
    hypothesis_words: int


class WordErrors(Measure):
    """Word errors of one recogniser; a subclass names it and transcribes."""

    if TYPE_CHECKING:

        @property
        def title(self) -> str:
            """The recogniser's name in the table's headings; a class attribute, or a property."""

    suffix: str = ""
    """Suffix of the names of columns and values, so that those of two recognisers differ."""
    packages: tuple[str, ...] = ("jiwer", "whisper_normalizer")
    intrusive = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """WER and WIL."""
        return (
            Column(f"wer{self.suffix}", f"WER {self.title} %", False, digits=1, scale=100),
            Column(f"wil{self.suffix}", f"WIL {self.title} %", False, digits=1, scale=100),
        )

    def transcribe(self, pair: Pair) -> str:
        """Text of the output.

        Raises:
            Skip: when the recogniser cannot process this clip.
        """
        raise NotImplementedError

    def __call__(self, pair: Pair) -> dict[str, float]:
        language = pair.clip.language or "en"
        text = pair.clip.text or ""
        if not text.strip():
            raise Skip("the manifest has no text for it")
        reference = normalize(text, language)
        if not reference:
            raise Skip("its text is empty after normalisation")
        counts = count_words(reference, normalize(self.transcribe(pair), language))
        values = {
            "wer": counts.errors / counts.reference_words,
            "wil": _information_lost(counts.hits, counts.reference_words, counts.hypothesis_words),
            **asdict(counts),
        }
        return {f"{name}{self.suffix}": value for name, value in values.items()}

    def notes(self, pair: Pair) -> dict[str, str]:
        return {f"transcript{self.suffix}": self.transcribe(pair)}

    def pool(self, column: str, values: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Rates over all words of the set, not means of the clips' rates."""
        total = {name.removesuffix(self.suffix): weights @ array for name, array in values.items()}
        if column == f"wer{self.suffix}":
            return total["errors"] / total["reference_words"]
        return _information_lost(total["hits"], total["reference_words"], total["hypothesis_words"])


@measure("wer")
@dataclass(frozen=True)
class AsrErrors(WordErrors):
    """Errors over all words (jiwer) of greedy recognition, both texts through Whisper's normaliser."""

    asr: str

    @classmethod
    def from_settings(cls, settings: MetricSettings) -> "AsrErrors":
        if not settings.asr:
            raise CodecError("measure 'wer' needs a recogniser; pass --asr FOLDER|ID (asr in a config)")
        return cls(settings.asr)

    @property
    def title(self) -> str:
        """Whisper, or the last part of the recogniser's name."""
        return "Whisper" if self._is_whisper() else Path(self.asr).name

    @property
    def resembles(self) -> tuple[str, ...]:
        """Losses on features of Whisper, which share its weights."""
        return ("whisper", "whisper_features") if self._is_whisper() else (Path(self.asr).name,)

    def describe(self) -> str:
        normaliser = "whisper_normalizer: English rules for en, basic rules else"
        return f"{super().describe()} Recogniser: {self.asr}. Normaliser: {normaliser}."

    def versions(self) -> dict[str, str]:
        from importlib.metadata import version

        recogniser = "faster-whisper" if is_faster_whisper(self.asr) else "transformers"
        return {**super().versions(), recogniser: version(recogniser)}

    def signature(self) -> str:
        return f"{super().signature()} {self.asr}"

    def transcribe(self, pair: Pair) -> str:
        return _cached_transcript(self.asr, pair.clip.language or "en", pair.output.tobytes())

    def _is_whisper(self) -> bool:
        return is_faster_whisper(self.asr) or "whisper" in Path(self.asr).name.lower()


def count_words(reference: str, hypothesis: str) -> WordCounts:
    """Align two normalised texts; the reference must have words."""
    import jiwer

    result = jiwer.process_words(reference, hypothesis)
    return WordCounts(
        hits=result.hits,
        errors=result.substitutions + result.deletions + result.insertions,
        reference_words=result.hits + result.substitutions + result.deletions,
        hypothesis_words=result.hits + result.substitutions + result.insertions,
    )


def normalize(text: str, language: str) -> str:
    """Whisper's text normalisation: English rules for ``en``, letters and digits only else."""
    return _normalizer(language == "en")(text).strip()


def is_faster_whisper(asr: str) -> bool:
    """Whether ``asr`` is a folder in CTranslate2's form."""
    return (Path(asr) / "model.bin").is_file()


def _information_lost(hits: Count, reference_words: Count, hypothesis_words: Count) -> Count:
    """WIL (Morris et al. 2004): one minus the share of words kept on both sides."""
    return 1 - hits / reference_words * (hits / np.maximum(hypothesis_words, 1))


@lru_cache(maxsize=2)
def _normalizer(english: bool) -> Callable[[str], str]:
    from whisper_normalizer.basic import BasicTextNormalizer
    from whisper_normalizer.english import EnglishTextNormalizer

    return EnglishTextNormalizer() if english else BasicTextNormalizer()


@lru_cache(maxsize=4)
def _cached_transcript(asr: str, language: str, samples: bytes) -> str:
    return _recogniser(asr)(np.frombuffer(samples, dtype=np.float32), language)


@lru_cache(maxsize=1)
def _recogniser(asr: str) -> Recogniser:
    return _faster_whisper(asr) if is_faster_whisper(asr) else _transformers(asr)


def _faster_whisper(folder: str) -> Recogniser:
    from faster_whisper import WhisperModel

    model = WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)

    def transcribe(wav: np.ndarray, language: str) -> str:
        segments, _ = model.transcribe(
            wav, language=language, beam_size=1, temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(segment.text.strip() for segment in segments)

    return transcribe


def _transformers(name: str) -> Recogniser:
    from transformers import pipeline
    from transformers.utils import logging

    logging.disable_progress_bar()
    recogniser: Any = pipeline("automatic-speech-recognition", model=name, device="cpu")
    whisper = recogniser.model.config.model_type == "whisper"

    def transcribe(wav: np.ndarray, language: str) -> str:
        options = {"num_beams": 1, "do_sample": False, "language": language} if whisper else {}
        audio = {"raw": wav, "sampling_rate": SCORING_RATE}
        return recogniser(audio, generate_kwargs=options)["text"] if options else recogniser(audio)["text"]

    return transcribe
