"""The language teacher (LM): a text encoder's states, on the frames where their words are spoken."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from codec.align.types import Alignment, Interval, Utterance
from codec.data import Clip
from codec.encoders.hub import teacher_id
from codec.encoders.text_encoder import TextEncoder
from codec.errors import CodecError
from codec.teachers.features.cache import ClipFeatures, FeatureInfo
from codec.teachers.registry import teacher
from codec.teachers.spread import spread_words

_WORDLESS = ("music", "sound", "mixed")


@dataclass(frozen=True)
class LanguageConfig:
    """Options of a language teacher."""

    model: str = ""
    """Hub id, folder, or package:NAME/FOLDER of a text encoder (BERT, ELECTRA, RoBERTa, MiniLM)."""
    layer: str | int | list[int] = "avg"
    """avg (all hidden states) | last | N | [list] (their mean); 0 is the embedding's output."""
    mode: Literal["aligned", "cls", "index", "shuffled"] = "aligned"
    """aligned: by timestamps; cls: the sentence's vector on all frames; index: token i on frame i of
    a crop, as in DM-Codec's released code; shuffled: another clip's words (a control)."""
    rate: float = 50.0
    """Frames per second of the cached features."""
    languages: tuple[str, ...] | None = None
    """Languages of the model; clips of another language are masked throughout. null takes all."""
    seed: int = 0
    """Seed of the shuffle."""
    device: str = "cpu"


@teacher("language")
class LanguageTeacher:
    """States of a text encoder on a clip's frames; frame i is centred on (i + 1/2) / rate.

    ``aligned``: each word's sub-word states fill its frames in equal parts; silence is masked.
    ``shuffled``: the same times and mask, with the states of another clip's words.
    ``cls``: one vector for the whole clip, silence included: it describes the sentence, not a moment.
    ``index``: row i is token i, [CLS] first and padding after the text, none masked.
    Clips without speech (:func:`is_speech`), of another language or without a text are masked throughout.
    """

    Config = LanguageConfig
    sample_rate = None

    def __init__(self, config: LanguageConfig):
        if config.rate <= 0:
            raise CodecError(f"teacher {config.model}: rate is {config.rate}; expected frames per second")
        self._encoder = TextEncoder(config.model, config.layer, config.device)
        self._config = config
        self._donors: dict[str, list[str]] = {}
        self.needs_words = config.mode in ("aligned", "shuffled")
        self.info = FeatureInfo(
            teacher=teacher_id(config.model),
            layer=self._encoder.layer,
            rate=config.rate,
            offset=0.5 / config.rate,
            mode=config.mode,
            dim=self._encoder.dim,
        )

    def prepare(self, clips: list[Clip], words: dict[str, Alignment]) -> None:
        """Check that each clip has a text or words, and choose the donors of a shuffle.

        Raises:
            CodecError: naming the first clip without a text.
        """
        clips = [clip for clip in clips if self._understands(clip)]
        silent = [clip for clip in clips if clip.text is None and clip.name not in words]
        if silent:
            raise CodecError(
                f"{silent[0].path}: {len(silent)} of {len(clips)} clips have no text, which the language "
                "teacher needs; add it to the manifest, or set words.model to a recogniser"
            )
        if self._config.mode == "shuffled":
            self._donors = choose_donors(clips, words, self._config.seed)

    def features(self, batch: list[Utterance]) -> list[ClipFeatures]:
        """States per utterance; rows are stored once and repeated by index."""
        if self._config.mode == "index":
            return [self._by_index(utterance) for utterance in batch]
        texts = [self._text(utterance) for utterance in batch]
        results = []
        for utterance, states in zip(batch, self._encoder.encode(texts), strict=True):
            num_frames = self._num_frames(utterance.clip)
            if self._config.mode == "cls":
                index, mask = torch.zeros(num_frames), torch.full((num_frames,), bool(states.rows))
                results.append(ClipFeatures(states.sentence[None], mask, index))
                continue
            words = utterance.words.intervals if utterance.words else ()
            rows = [states.rows[i % len(states.rows)] for i in range(len(words))] if states.rows else []
            results.append(self._spread(words if rows else (), rows, states.states, num_frames))
        return results

    def _spread(
        self, words: Sequence[Interval], rows: list[range], states: torch.Tensor, num_frames: int
    ) -> ClipFeatures:
        """Rows on frames; words that share rows (a shorter donor's) get copies, so that rows rise."""
        picked = [row for word_rows in rows for row in word_rows]
        rising, start = [], 0
        for word_rows in rows:
            rising.append(range(start, start + len(word_rows)))
            start += len(word_rows)
        frames = spread_words(words, rising, num_frames, self.info.rate, self.info.offset)
        chosen = states[picked] if picked else torch.zeros(1, self.info.dim)
        return ClipFeatures(chosen, frames.mask, frames.index)

    def _understands(self, clip: Clip) -> bool:
        languages = self._config.languages
        return is_speech(clip) and (not languages or clip.language is None or clip.language in languages)

    def _text(self, utterance: Utterance) -> list[str]:
        if not self._understands(utterance.clip):
            return []
        if self._config.mode == "shuffled":
            return self._donors[utterance.clip.name]
        return clip_words(utterance.clip, utterance.words)

    def _by_index(self, utterance: Utterance) -> ClipFeatures:
        length = min(self._num_frames(utterance.clip), self._encoder.window)
        words = self._text(utterance)
        rows = self._encoder.padded(words, length)
        return ClipFeatures(rows, torch.full((length,), bool(words)))

    def _num_frames(self, clip: Clip) -> int:
        return max(1, math.ceil(clip.seconds * self.info.rate - 1e-6))


def clip_words(clip: Clip, words: Alignment | None) -> list[str]:
    """The words to encode: those that were timed, else the manifest's text."""
    if words is not None:
        return [word.label or "" for word in words.intervals]
    return (clip.text or "").split()


def is_speech(clip: Clip) -> bool:
    """Whether a clip has words to speak of.

    Music, sounds and mixtures have none. A domain of the user's own has them where its text or language is known.
    """
    if clip.domain in _WORDLESS:
        return False
    return clip.domain == "speech" or clip.text is not None or clip.language is not None


def choose_donors(clips: list[Clip], words: dict[str, Alignment], seed: int) -> dict[str, list[str]]:
    """Choose for each clip the words of another clip of its language with another text.

    The same list of clips and seed gives the same choice.

    Raises:
        CodecError: when all clips of a language have the same text.
    """
    donors: dict[str, list[str]] = {}
    for language in sorted({clip.language or "" for clip in clips}):
        group = [clip for clip in clips if (clip.language or "") == language]
        texts = {clip.name: clip_words(clip, words.get(clip.name)) for clip in group}
        order = sorted(texts)
        random.Random(seed).shuffle(order)
        for position, name in enumerate(order):
            rest = order[position + 1 :] + order[:position]
            donor = next((other for other in rest if texts[other] and texts[other] != texts[name]), None)
            if donor is None:
                raise CodecError(
                    f"{name}: no other clip of language {language!r} has another text; shuffled needs two texts"
                )
            donors[name] = texts[donor]
    return donors
