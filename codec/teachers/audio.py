"""Teachers that listen: speech models, music models, and any other encoder of audio."""

from typing import ClassVar

import torch

from codec.align.types import Alignment, Utterance
from codec.data import Clip
from codec.encoders.base import EncoderConfig
from codec.encoders.open import open_encoder
from codec.teachers.features.cache import ClipFeatures, FeatureInfo
from codec.teachers.registry import teacher


class AudioTeacher:
    """What an encoder of audio gives for a clip: frames, all of which count, or one vector."""

    Config = EncoderConfig
    needs_words = False
    mode: ClassVar[str]
    """What the caches call this kind."""

    def __init__(self, config: EncoderConfig):
        self._encoder = open_encoder(config)
        self.sample_rate = self._encoder.sample_rate
        self.info = FeatureInfo(
            teacher=self._encoder.name,
            layer=self._encoder.layer,
            # A clip's vector has no times.
            rate=self._encoder.rate or 0.0,
            offset=self._encoder.offset,
            mode=self.mode,
            dim=self._encoder.dim,
            level=self._encoder.level,
        )

    def prepare(self, clips: list[Clip], words: dict[str, Alignment]) -> None:
        """Nothing to look at beforehand: all it needs is audio."""

    def features(self, batch: list[Utterance]) -> list[ClipFeatures]:
        """``(T, D)`` per utterance, or ``(1, D)`` of level clip."""
        frames = self._encoder.encode([utterance.audio for utterance in batch])
        return [ClipFeatures(item, torch.ones(len(item), dtype=torch.bool)) for item in frames]


@teacher("speech")
class SpeechTeacher(AudioTeacher):
    """A model of speech: Whisper, HuBERT, WavLM, ..."""

    mode = "speech"


@teacher("music")
class MusicTeacher(AudioTeacher):
    """A model of music: musicnn, basic-pitch, MERT, ..."""

    mode = "music"


@teacher("embedding")
class EmbeddingTeacher(AudioTeacher):
    """Any other model of audio: an ONNX file, a function, ..."""

    mode = "embedding"
