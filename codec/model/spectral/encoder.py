"""Waveform to latent frames: causal STFT, compressed, through ConvNeXt blocks."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.model.spectral.blocks import MIN_ROWS, Backbone, BackboneState
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.stft import CausalSTFT

# Keeps the gradient of the power law finite in silence; about -100 dB of full scale.
_POWER_FLOOR = 1e-7


@dataclass
class EncoderState:
    """What later frames need of the earlier signal."""

    samples: Tensor
    backbone: BackboneState


class SpectralEncoder(nn.Module):
    """Causal encoder: frame h depends on samples before ``(h + 1) * hop_length`` only."""

    causal = True
    min_rows = MIN_ROWS

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.compression = config.compression
        self.stft = CausalSTFT(config.window_length, config.hop_length)
        self.backbone = Backbone(
            in_dim=2 * config.num_bins,
            dim=config.encoder_dim,
            out_dim=config.latent_dim,
            layers=config.encoder_layers,
            expansion=config.expansion,
            kernel_size=config.kernel_size,
        )

    def forward(self, wav: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """``wav (B, n * hop)`` to ``(latent (B, D, n), state)``."""
        spectrum, samples = self.stft(wav, state.samples if state else None)
        power = spectrum.real.square() + spectrum.imag.square() + _POWER_FLOOR
        # Not pow: the last few of its results, past the whole vectors of a processor, are rounded in
        # another way, so that a frame would depend on how many others are computed with it.
        gain = (power.log() * ((self.compression - 1) / 2)).exp()
        features = torch.cat([spectrum.real * gain, spectrum.imag * gain], dim=2)
        latent, backbone = self.backbone(features, state.backbone if state else None)
        return latent.transpose(1, 2), EncoderState(samples, backbone)
