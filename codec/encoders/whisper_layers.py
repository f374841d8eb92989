"""Whisper's encoder with a gradient for the audio: the mean of its layers, as a training loss needs it."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum, squared_magnitude
from codec.encoders.hub import load_pretrained
from codec.encoders.whisper_encoder import whisper_extractor
from codec.errors import CodecError

_FLOOR = 1e-10
_RANGE = 8.0
"""Decades below a clip's loudest value at which Whisper cuts its log-mel spectrum off."""


class WhisperLayers(nn.Module):
    """The mean of a frozen Whisper encoder's layers, each layer-normalised.

    Positions are cut to the clip, instead of 30 s of silence behind it.

    Args:
        model: a hub id, a folder, or package:NAME/FOLDER.
        mixed: whether the layers work in bfloat16 where they can.

    Attributes:
        sample_rate: Hz of the input.

    Raises:
        CodecError: when the model cannot be loaded.
    """

    filters: Tensor

    def __init__(self, model: str, mixed: bool):
        super().__init__()
        from transformers import AutoModel

        whisper = load_pretrained(AutoModel, model)
        if getattr(whisper.config, "model_type", None) != "whisper":
            kind = whisper.config.model_type
            raise CodecError(f"{model}: a {kind} model; only Whisper's encoder hears decoded audio")
        extractor = whisper_extractor(model, whisper.config)
        self.sample_rate = int(extractor.sampling_rate)
        # In a list, where it is no submodule: its weights belong in no checkpoint and no optimizer.
        self._encoder = [whisper.get_encoder().float().eval().requires_grad_(False)]
        self._mixed = mixed
        self.spectrum = Spectrum(extractor.n_fft, extractor.hop_length, center=False)
        filters = torch.as_tensor(extractor.mel_filters).float()
        self.register_buffer("filters", filters, persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """``(B, T)`` to ``(B, frames, D)`` float32, 50 frames a second."""
        encoder = self._at(wav.device)
        with torch.autocast(wav.device.type, torch.bfloat16, enabled=self._mixed):
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
        power = squared_magnitude(self.spectrum(wav)[:, :-1]) @ self.filters
        log = power.clamp(min=_FLOOR).log10()
        log = torch.maximum(log, log.amax((1, 2), keepdim=True) - _RANGE)
        return ((log + 4) / 4).transpose(1, 2)

    def _at(self, device: torch.device) -> Any:
        encoder = self._encoder[0]
        if next(encoder.parameters()).device != device:
            encoder.to(device)
        return encoder
