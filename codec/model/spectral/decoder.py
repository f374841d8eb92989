"""Latent frames to waveform: ConvNeXt blocks, magnitude and phase, inverse STFT."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.model.spectral.blocks import Backbone, BackboneState
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.stft import CausalISTFT

# exp(6) is above what a full-scale sine reaches in a 640-sample window.
_MAX_LOG_MAGNITUDE = 6.0


@dataclass
class DecoderState:
    """What later samples need of the earlier frames."""

    backbone: BackboneState
    overlap: Tensor


class SpectralDecoder(nn.Module):
    """Causal decoder with an inverse-STFT head (Vocos, Siuzdak 2023), lagging one hop."""

    causal = True

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.delay = config.hop_length
        self.backbone = Backbone(
            in_dim=config.latent_dim,
            dim=config.decoder_dim,
            out_dim=2 * config.num_bins,
            layers=config.decoder_layers,
            expansion=config.expansion,
            kernel_size=config.kernel_size,
        )
        self.istft = CausalISTFT(config.window_length, config.hop_length)

    def forward(
        self, latent: Tensor, state: DecoderState | None = None
    ) -> tuple[Tensor, DecoderState]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop), state)``."""
        output, backbone = self.backbone(
            latent.transpose(1, 2), state.backbone if state else None
        )
        # The spectrum is float32 even under bf16 autocast: complex bf16 does not exist.
        log_magnitude, phase = output.float().chunk(2, dim=2)
        spectrum = torch.polar(log_magnitude.clamp(max=_MAX_LOG_MAGNITUDE).exp(), phase)
        wav, overlap = self.istft(spectrum, state.overlap if state else None)
        return wav, DecoderState(backbone, overlap)
