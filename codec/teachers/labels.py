"""Labels as a teacher: the phone that is spoken in each frame, by forced alignment of the clip's text."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from codec.align.phones import align_clips, check_aligner
from codec.align.types import Alignment, Interval, Omitted, Utterance
from codec.data import Clip
from codec.errors import CodecError
from codec.teachers.features.cache import ClipFeatures, FeatureInfo
from codec.teachers.language import is_speech
from codec.teachers.registry import teacher

PHONES = (
    *("SIL", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH"),
    *("IY", "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W"),
    *("Y", "Z", "ZH"),
)
"""Classes: silence and ARPAbet without stress."""
RATE = 100.0
"""Frames per second of the aligner."""
MODE = "labels"
"""What the caches call features that are classes."""


@dataclass(frozen=True)
class LabelsConfig:
    """Options of a teacher of labels."""

    model: Literal["pocketsphinx"] = "pocketsphinx"
    """The aligner; pocketsphinx brings its own model of English."""
    alignments: str = "cache/phones.jsonl"
    """File that alignments are kept in, and read from."""
    layer: str = "phones"
    """What is labelled."""


@teacher("labels")
class LabelsTeacher:
    """Phones of English clips with a text, one class for each frame of 10 ms.

    Frames whose phone is not known are masked, as are clips without a text or words that were recognised, of another
    language or domain, or that cannot be aligned. The features are rows of the identity: a distribution over the
    classes.
    """

    Config = LabelsConfig
    sample_rate = None
    needs_words = False

    def __init__(self, config: LabelsConfig):
        check_aligner()
        self._config = config
        self._phones: dict[str, tuple[Interval, ...]] = {}
        self.info = FeatureInfo(
            teacher=config.model, layer=config.layer, rate=RATE, offset=0.5 / RATE, mode=MODE, dim=len(PHONES)
        )

    def prepare(self, clips: list[Clip], words: dict[str, Alignment]) -> None:
        """Align all clips that can be, which the file of alignments then knows.

        Raises:
            CodecError: when no clip has a text in the aligner's language, or none could be aligned.
        """
        usable = [clip for clip in (with_text(clip, words.get(clip.name)) for clip in clips) if can_be_labelled(clip)]
        if not usable:
            raise CodecError(
                f"none of {len(clips)} clips is English speech with a text, which the teacher of labels needs; "
                "add texts to the manifest, set words.type and words.model to a recogniser, or remove the teacher"
            )
        skipped = self._align(usable)
        if not any(self._phones.values()):
            raise CodecError(f"{skipped[0].clip}: {skipped[0].reason}; no clip could be aligned, so no phone is known")

    def features(self, batch: list[Utterance]) -> list[ClipFeatures]:
        """``(40, 40)`` rows, and which of them each frame has."""
        clips = [with_text(utterance.clip, utterance.words) for utterance in batch]
        self._align([clip for clip in clips if clip.name not in self._phones and can_be_labelled(clip)])
        return [label_frames(self._phones.get(clip.name, ()), clip.seconds) for clip in clips]

    def _align(self, clips: list[Clip]) -> list[Omitted]:
        """Look up or align clips; those that cannot be are without phones, and returned."""
        skipped: list[Omitted] = []
        if clips:
            self._phones |= {clip.name: () for clip in clips}
            self._phones |= align_clips(clips, Path(self._config.alignments), skipped)
        return skipped


def with_text(clip: Clip, words: Alignment | None) -> Clip:
    """The clip, with the words that were recognised as its text if it has none."""
    if clip.text is not None or words is None:
        return clip
    return replace(clip, text=words.text)


def is_english(clip: Clip) -> bool:
    """Whether a clip is speech in the aligner's language, as far as is known."""
    return is_speech(clip) and (clip.language or "en").lower().startswith("en")


def can_be_labelled(clip: Clip) -> bool:
    """Whether a clip is English speech with a text."""
    return bool(clip.text) and is_english(clip)


def label_frames(phones: tuple[Interval, ...], seconds: float) -> ClipFeatures:
    """One-hot rows of the classes, and the row of each frame of 10 ms; masked outside known phones."""
    num_frames = max(1, math.ceil(seconds * RATE - 1e-6))
    index, mask = torch.zeros(num_frames, dtype=torch.int64), torch.zeros(num_frames, dtype=torch.bool)
    classes = {phone: number for number, phone in enumerate(PHONES)}
    for phone in phones:
        number = classes.get(phone.label or "")
        if number is not None:
            frames = slice(round(phone.start * RATE), round(phone.end * RATE))
            index[frames], mask[frames] = number, True
    return ClipFeatures(torch.eye(len(PHONES)), mask, index)
