"""Other audio models of transformers: what their own feature extractor and hidden states make of a clip."""

from typing import Any

import torch
from torch import Tensor

from codec.encoders.base import SLACK, Encoder, EncoderConfig
from codec.encoders.hub import load_pretrained, teacher_id
from codec.encoders.layers import choose_layers
from codec.errors import CodecError


def open_generic(model: Any, extractor: Any, config: EncoderConfig) -> Encoder:
    """An encoder of a model such as Wav2Vec2-BERT or the Audio Spectrogram Transformer.

    With a declared ``rate``, its hidden states are frames, the first of a window at half a frame unless ``offset``
    says otherwise; without, they are averaged into one vector. Longer clips are cut into windows of
    ``max_seconds``, which is to be what the model takes at once.

    Args:
        model: loaded, without gradients.
        extractor: of :func:`audio_extractor`.
        config: what is declared.

    Raises:
        CodecError: for a layer that the model lacks.
    """
    settings = model.config
    layers = choose_layers(config.layer, getattr(settings, "num_hidden_layers", 0))
    sample_rate = int(extractor.sampling_rate)
    window = round(config.max_seconds * sample_rate)

    @torch.inference_mode()
    def states(piece: Tensor) -> Tensor:
        inputs = extractor(piece.numpy(), sampling_rate=sample_rate, return_tensors="pt").to(config.device)
        weight = next(model.parameters())
        inputs = {k: v.to(weight.dtype) if v.is_floating_point() else v for k, v in inputs.items()}
        return layers.combine(model(**inputs, output_hidden_states=True).hidden_states)[0].float().cpu()

    def encode(wav: Tensor) -> Tensor:
        pieces = [piece for piece in wav.split(window) if len(piece) >= min(len(wav), sample_rate // 10)]
        if config.rate is None:
            return torch.stack([states(piece).mean(dim=0) for piece in pieces]).mean(dim=0, keepdim=True)
        frames = [_fitted(states(piece), len(piece) / sample_rate * config.rate) for piece in pieces]
        return torch.cat(frames)

    return Encoder(
        name=teacher_id(config.model),
        layer=layers.name,
        sample_rate=sample_rate,
        rate=config.rate,
        offset=config.first_centre,
        dim=settings.hidden_size,
        run=lambda wavs: [encode(wav) for wav in wavs],
    )


def audio_extractor(model: str) -> Any | None:
    """The model's feature extractor, where it has one that takes audio."""
    from transformers import AutoFeatureExtractor

    try:
        extractor = load_pretrained(AutoFeatureExtractor, model)
    except CodecError:
        return None
    return extractor if hasattr(extractor, "sampling_rate") else None


def _fitted(frames: Tensor, expected: float) -> Tensor:
    """A window's frames, so many that those of the next one follow in time; extractors lose a few at the end."""
    count = max(1, round(expected))
    missing = count - len(frames)
    if not 0 <= missing <= SLACK:
        # Too few or too many: the declaration is wrong, which the encoder's check says.
        return frames
    return torch.cat([frames, frames[-1:].expand(missing, -1)])
