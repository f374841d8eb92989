"""Word timers: models that say when each word was spoken, by ``words.type``."""

from dataclasses import dataclass
from typing import Literal, Protocol

from codec.align.utterance import Utterance
from codec.align.words import ClipWords
from codec.encoders.hub import teacher_id
from codec.errors import CodecError


@dataclass(frozen=True)
class WordsConfig:
    """Where word times, and unknown texts, come from."""

    type: Literal["ctc", "whisper", "faster_whisper"] = "ctc"
    """ctc: wav2vec 2.0 CTC; whisper: transformers; faster_whisper: a CTranslate2 folder."""
    model: str = ""
    """Hub id, folder, or package:NAME/FOLDER."""
    language: str | None = None
    """Of clips whose manifest line has none; null lets Whisper find out."""
    max_seconds: float = 30.0
    """Longer audio is cut at its quietest places (ctc)."""
    compute_type: str = "int8"
    """faster_whisper: CTranslate2's compute type."""
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Names the file of word times."""
        return f"{self.type}-{teacher_id(self.model)}".replace("/", "--")


class WordTimer(Protocol):
    """Built as ``cls(config)``."""

    sample_rate: int

    def check_text(self, text: str) -> None:
        """Raises CodecError when a known text can never be aligned."""

    def words(self, batch: list[Utterance]) -> list[ClipWords]:
        """Timed words per utterance: of the manifest's text where it is known, else recognised."""


def build_timer(config: WordsConfig) -> WordTimer:
    """The timer of ``config.type``; its model is loaded here.

    Raises:
        CodecError: when the model cannot be loaded or the library is not installed.
    """
    if config.type == "ctc":
        from codec.align.ctc import CtcTimer

        return CtcTimer(config)
    if config.type == "whisper":
        from codec.align.whisper import WhisperTimer

        return WhisperTimer(config)
    try:
        from codec.align.ctranslate import CTranslateTimer
    except ImportError:
        raise CodecError(
            "words.type=faster_whisper needs faster-whisper; pip install -r recipes/requirements-teachers.txt"
        ) from None
    return CTranslateTimer(config)
