"""Features that a speech model finds in the decoded audio."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum
from codec.encoders.hub import load_pretrained
from codec.encoders.whisper_encoder import whisper_extractor
from codec.errors import CodecError
from codec.train.losses.context import LossContext
from codec.train.losses.registry import loss
from codec.train.types import LossInput

_FLOOR = 1e-10
_RANGE = 8.0
"""Decades below a clip's loudest value at which Whisper cuts its log-mel spectrum off."""


@loss("output_features")
class OutputFeaturesLoss(nn.Module):
    """``mean |f(X) - f(Y)|``, f the mean of a frozen Whisper encoder's layers, each layer-normalised.

    The loss that reduces word errors in JHCodec (arXiv 2603.05887, section 3): the decoder has to produce
    what a recogniser needs. The model that gives the features must not evaluate the result: measure WER
    with another.
    Positions are cut to the crop, instead of 30 s of silence behind it.
    """

    @dataclass(frozen=True)
    class Config:
        """The model."""

        model: str = ""
        """Whisper: a hub id, a folder, or package:NAME/FOLDER."""
        precision: str = "bf16"
        """bf16 or fp32, of the encoder's layers."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        from transformers import AutoModel

        if config.precision not in ("bf16", "fp32"):
            raise CodecError(f"losses.output_features: precision {config.precision!r} is none of bf16, fp32")
        model = load_pretrained(AutoModel, config.model)
        encoder, extractor = model.get_encoder(), whisper_extractor(config.model, model.config)
        if extractor.sampling_rate != context.sample_rate:
            raise CodecError(
                f"losses.output_features: {config.model} expects {extractor.sampling_rate} Hz, the codec "
                f"{context.sample_rate} Hz"
            )
        # In a list, where it is not a submodule: its weights belong in no checkpoint and no optimizer.
        self._encoder = [encoder.float().eval().requires_grad_(False)]
        self.autocast = config.precision == "bf16"
        self.spectrum = Spectrum(extractor.n_fft, extractor.hop_length, center=False)
        filters = torch.as_tensor(extractor.mel_filters).float()
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, inputs: LossInput) -> Tensor:
        with torch.no_grad():
            real = self.features(inputs.real)
        return (self.features(inputs.fake) - real).abs().mean()

    def features(self, wav: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, frames, D)`` float32, 50 frames a second."""
        encoder = self._at(wav.device)
        with torch.autocast(wav.device.type, torch.bfloat16, enabled=self.autocast):
            hidden = F.gelu(encoder.conv1(self.log_mel(wav)))
            hidden = F.gelu(encoder.conv2(hidden)).transpose(1, 2)
            hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
            layers = []
            for layer in encoder.layers:
                output = layer(hidden, None)
                hidden = output[0] if isinstance(output, tuple) else output
                layers.append(F.layer_norm(hidden.float(), hidden.shape[-1:]))
        return torch.stack(layers).mean(0)

    def log_mel(self, wav: Tensor) -> Tensor:
        """Whisper's input ``(B, mels, frames)``, differentiable."""
        # Frames are centred on multiples of the hop, the last of which Whisper leaves out.
        half = self.spectrum.n_fft // 2
        wav = F.pad(wav.unsqueeze(1).float(), (half, half), mode="reflect").squeeze(1)
        spectrum = self.spectrum(wav)[:, :-1]
        power = (spectrum.real.square() + spectrum.imag.square()) @ self.filters
        log = power.clamp(min=_FLOOR).log10()
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - _RANGE)
        return ((log + 4) / 4).transpose(1, 2)

    def _at(self, device: torch.device) -> Any:
        encoder = self._encoder[0]
        if next(encoder.parameters()).device != device:
            encoder.to(device)
        return encoder
