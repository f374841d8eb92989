"""The speech teacher (SM): hidden states of any transformers audio encoder."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from codec.align.types import Alignment, Utterance
from codec.data import Clip
from codec.encoders.hub import load_pretrained, teacher_id
from codec.encoders.layers import LayerChoice, choose_layers
from codec.encoders.waveform import WaveformEncoder, wave_extractor
from codec.encoders.whisper_encoder import WhisperEncoder, whisper_extractor
from codec.teachers.features.cache import ClipFeatures, FeatureInfo
from codec.teachers.registry import teacher


@dataclass(frozen=True)
class SpeechConfig:
    """Options of a speech teacher."""

    model: str = ""
    """Hub id, folder, or package:NAME/FOLDER of a HuBERT, WavLM, wav2vec 2.0 or Whisper."""
    layer: str | int | list[int] = "avg"
    """avg (all hidden states) | last | N | [list] (their mean); 0 is the embedding's output."""
    max_seconds: float = 30.0
    """Longer audio is cut at its quietest places and stitched."""
    tail_seconds: float | None = None
    """Whisper: silence after a clip; null pads to 30 s as in Whisper's training, 2 is much faster."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"


@teacher("speech")
class SpeechTeacher:
    """Frames of a speech encoder; every frame of the clip counts."""

    Config = SpeechConfig
    needs_words = False

    def __init__(self, config: SpeechConfig):
        from transformers import AutoModel

        model = load_pretrained(AutoModel, config.model, dtype=getattr(torch, config.dtype))
        model = model.eval().requires_grad_(False).to(config.device)
        self._encoder, layers, dim = _build_encoder(model, config)
        self.sample_rate = self._encoder.sample_rate
        self.info = FeatureInfo(
            teacher=teacher_id(config.model),
            layer=layers.name,
            rate=self._encoder.rate,
            offset=self._encoder.offset,
            mode="speech",
            dim=dim,
        )

    def prepare(self, clips: list[Clip], words: dict[str, Alignment]) -> None:
        """Accept all clips: the teacher needs only audio."""

    def features(self, batch: list[Utterance]) -> list[ClipFeatures]:
        """Hidden states of the chosen layers, ``(T, D)`` per utterance."""
        frames = self._encoder.encode([utterance.audio for utterance in batch])
        return [ClipFeatures(item, torch.ones(len(item), dtype=torch.bool)) for item in frames]


def _build_encoder(
    model: Any, config: SpeechConfig
) -> tuple[WaveformEncoder | WhisperEncoder, LayerChoice, int]:
    if model.config.model_type == "whisper":
        layers = choose_layers(config.layer, model.config.encoder_layers)
        extractor = whisper_extractor(config.model, model.config)
        whisper = WhisperEncoder(
            model.encoder, extractor, _reader(layers), config.max_seconds, config.tail_seconds
        )
        return whisper, layers, model.config.d_model
    layers = choose_layers(config.layer, getattr(model.config, "num_hidden_layers", 0))
    extractor = wave_extractor(config.model)
    encoder = WaveformEncoder(model, extractor, _reader(layers), config.max_seconds)
    return encoder, layers, model.config.hidden_size


def _reader(layers: LayerChoice) -> Callable[[Any], Tensor]:
    return lambda output: layers.combine(output.hidden_states)
