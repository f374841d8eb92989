"""Latent frames to waveform: ConvNeXt blocks, a compressed spectrum, inverse STFT."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.model.spectral.blocks import MIN_ROWS, Backbone, BackboneState
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.stft import CausalISTFT

# Keeps the gradient of the magnitude finite at zero; squared below, so far under 16 bits.
_POWER_FLOOR = 1e-8


@dataclass
class DecoderState:
    """What later samples need of the earlier frames."""

    backbone: BackboneState
    overlap: Tensor


class SpectralDecoder(nn.Module):
    """Causal decoder with an inverse-STFT head (Vocos, Siuzdak 2023), lagging one hop.

    The head gives the real and imaginary part of a spectrum whose magnitudes are square roots of
    the wanted ones: loud and quiet bins are then of one order, as with a log magnitude, and phase
    needs no angle that jumps at its ends.
    """

    causal = True
    min_rows = MIN_ROWS

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

    def forward(self, latent: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop), state)``."""
        output, backbone = self.backbone(latent.transpose(1, 2), state.backbone if state else None)
        # The spectrum is float32 even under bf16 autocast: complex bf16 does not exist.
        real, imag = output.float().chunk(2, dim=2)
        magnitude = (real.square() + imag.square() + _POWER_FLOOR).sqrt()
        spectrum = torch.complex(real * magnitude, imag * magnitude)
        wav, overlap = self.istft(spectrum, state.overlap if state else None)
        return wav, DecoderState(backbone, overlap)
