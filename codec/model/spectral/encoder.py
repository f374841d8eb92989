"""Waveform to latent frames: two views of a causal STFT, through ConvNeXt blocks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.model.registry import Encoder
from codec.model.spectral.bands import band_means
from codec.model.spectral.blocks import MIN_ROWS, Backbone, BackboneState
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.stft import CausalSTFT

# Keeps the gradient of the power law finite in silence; about -100 dB of full scale.
_POWER_FLOOR = 1e-7
# Mean power of a bin below which a frame is not amplified any more.
_ENERGY_FLOOR = 1e-5
# Brings the logarithm of the energy to the size of the other inputs.
_LEVEL_SCALE = 0.3
# Of speech, the logarithm of a band's power over the frame's falls along the bands from a half to minus six, give or
# take two and a half. With such means left in, every step of training would move all that the first layer gives.
_USUAL_LEVELS = (0.5, -6.0)
_BAND_SCALE = 0.8


@dataclass
class EncoderState:
    """The part of the earlier signal that later frames need."""

    samples: Tensor
    backbone: BackboneState
    semantic: BackboneState | None = None


class SpectralEncoder(Encoder):
    """Causal encoder: frame h depends on samples before ``(h + 1) * hop_length`` only, or with ``look_ahead`` on so
    many hops more.

    It sees each frame twice. The spectrum at unit energy, together with the energy's logarithm, is a
    linear picture of the waveform, from which phase can be coded; the power-compressed spectrum shows
    the quiet bins. Compressed bins alone hide the phase behind a non-linearity that takes very long
    to learn (docs/experiments/README.md). The first layer is linear, so that where phases are random it cannot tell
    the power of a band; with ``level_bands`` the frame is seen a third time, as the levels of bands.

    With ``semantic_layers``, blocks of their own lead from an early block to the last part of the latent, which the
    first codebook can then choose by: what a speech teacher hears needs depth, and would take it from the sound.
    """

    bands: Tensor | None
    usual: Tensor

    causal = True
    min_rows = MIN_ROWS

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.compression = config.compression
        self.delay = config.look_ahead * config.hop_length
        self.stft = CausalSTFT(config.window_length, config.hop_length)
        bands = band_means(config.level_bands, config.num_bins) if config.level_bands else None
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("usual", torch.linspace(*_USUAL_LEVELS, config.level_bands), persistent=False)
        self.backbone = Backbone(
            in_dim=4 * config.num_bins + 1 + config.level_bands,
            dim=config.encoder_dim,
            out_dim=config.acoustic_dim,
            layers=config.encoder_layers,
            expansion=config.expansion,
            kernel_size=config.kernel_size,
            look_ahead=config.look_ahead,
        )
        self.semantic_from = config.semantic_from
        self.semantic = (
            Backbone(
                in_dim=config.encoder_dim,
                dim=config.encoder_dim,
                out_dim=config.semantic_dim,
                layers=config.semantic_layers,
                expansion=config.expansion,
                kernel_size=config.kernel_size,
                look_ahead=config.look_ahead,
            )
            if config.semantic_layers
            else None
        )

    def forward(self, wav: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """``wav (B, n * hop)`` to ``(latent (B, D, n), state)``."""
        spectrum, samples = self.stft(wav, state.samples if state else None)
        features = self.features(spectrum.real, spectrum.imag)
        latent, inside, backbone = self.backbone.tapped(features, state.backbone if state else None, self.semantic_from)
        if self.semantic is None:
            return latent.transpose(1, 2), EncoderState(samples, backbone)
        meaning, semantic = self.semantic(inside, state.semantic if state else None)
        return torch.cat([latent, meaning], dim=2).transpose(1, 2), EncoderState(samples, backbone, semantic)

    def features(self, real: Tensor, imag: Tensor) -> Tensor:
        """Views of spectra ``(B, n, bins)``: ``(B, n, 4 * bins + 1 + level_bands)``."""
        power = real.square() + imag.square()
        energy = power.mean(dim=2, keepdim=True) + _ENERGY_FLOOR
        unit = energy.rsqrt()
        # Not pow: the last few of its results, past the whole vectors of a processor, are rounded in
        # another way, so that a frame would depend on how many others are computed with it.
        compress = ((power + _POWER_FLOOR).log() * ((self.compression - 1) / 2)).exp()
        level = energy.log() * _LEVEL_SCALE
        views = [real * unit, imag * unit, level, real * compress, imag * compress]
        if self.bands is not None:
            relative = ((power @ self.bands + _POWER_FLOOR) / energy).log()
            views.append((relative - self.usual) * _BAND_SCALE)
        return torch.cat(views, dim=2)
