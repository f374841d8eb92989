"""Latent frames to waveform: ConvNeXt blocks, a spectrum under band gains, inverse STFT."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.model.registry import Decoder
from codec.model.spectral.bands import gain_matrix
from codec.model.spectral.blocks import MIN_ROWS, Backbone, BackboneState
from codec.model.spectral.comb import PitchComb
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.contrast import SpectralContrast
from codec.model.spectral.noise import PARTS, PERIOD, DrawnNoise, drawn_turns, fall, places, rise
from codec.model.spectral.stft import CausalISTFT

# Bounds the loudness while the head is not trained yet.
_MAX_LOG_GAIN = 6.0


@dataclass
class DecoderState:
    """The part of earlier frames that later samples need."""

    backbone: BackboneState | None
    overlap: Tensor | None
    noise_index: Tensor | None = None


class SpectralDecoder(Decoder):
    """Causal decoder with an inverse-STFT head (Vocos, Siuzdak 2023), lagging one hop.

    The head gives the real and imaginary part of the spectrum, linear, so that phase needs no angle
    that jumps at its ends, times the exponential of gains at a few frequencies, between which
    they are interpolated: loudness is learnt in decibels, fine structure as it is. With ``noise_bands`` high
    frequencies are noise (:mod:`codec.model.spectral.noise`), and the network gives their loudness. From
    ``phase_from`` on the phases of the spectrum itself are drawn.
    Outside training the spectrum gets ``contrast`` (:mod:`codec.model.spectral.contrast`) and the noise a ``comb``
    (:mod:`codec.model.spectral.comb`).
    """

    gains: Tensor
    harmonic_share: Tensor
    noise_share: Tensor
    turns: Tensor

    causal = True
    min_rows = MIN_ROWS

    def __init__(self, config: SpectralConfig):
        super().__init__()
        self.delay = config.hop_length
        self.backbone = Backbone(
            in_dim=config.latent_dim,
            dim=config.decoder_dim,
            out_dim=2 * config.num_bins + config.gain_bands + PARTS * config.noise_bands,
            layers=config.decoder_layers,
            expansion=config.expansion,
            kernel_size=config.kernel_size,
        )
        self.sizes = [config.num_bins, config.num_bins, config.gain_bands, PARTS * config.noise_bands]
        self.register_buffer("gains", gain_matrix(config.gain_bands, config.num_bins), persistent=False)
        self.istft = CausalISTFT(config.window_length, config.hop_length)
        self.noise = None
        harmonic = torch.ones(config.num_bins)
        if config.noise_bands:
            bins = config.hop_length // 2 + 1
            self.noise = DrawnNoise(config.hop_length, gain_matrix(config.noise_bands, bins), config.noise_draw)
            harmonic = fall(config.noise_from, config.num_bins, config.noise_fade)
            with torch.no_grad():
                # Almost inaudible until it is learnt.
                self.backbone.out.bias[-PARTS * config.noise_bands :] -= 3.0
            # Noise may come in an octave below the place where it takes over; the network says how much.
            self.register_buffer("noise_share", rise(config.noise_from / 2, bins), persistent=False)
            self.register_buffer("harmonic_share", harmonic, persistent=False)
        self.draws_phases = config.phase_from > 0
        if self.draws_phases:
            turns = drawn_turns(config.num_bins, config.phase_from, config.phase_fade)
            self.register_buffer("turns", turns, persistent=False)
        self.comb = None
        if config.comb:
            self.comb = PitchComb(config.comb, gain_matrix(config.noise_bands, config.num_bins), config.noise_from)
        self.contrast = SpectralContrast(config.contrast, harmonic) if config.contrast else None

    def crop_start(self, wav: Tensor) -> DecoderState | None:
        """State before crops ``wav (B, T)`` of training: silence, with numbers from anywhere in the tables.

        Crops that all began at a table's first frame would teach the network these phases by heart. The place
        comes from the crop's own samples, so that a step repeats exactly and a recorded one needs no new input.
        """
        if self.noise is None and not self.draws_phases:
            return None
        place = (wav.abs().mean(1, keepdim=True) * 2.0**24).floor().remainder(PERIOD)
        return DecoderState(None, None, place)

    def forward(self, latent: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop), state)``."""
        output, backbone = self.backbone(latent.transpose(1, 2), state.backbone if state else None)
        # The spectrum is float32 even under bf16 autocast: complex bf16 does not exist.
        real, imag, bands, noise_levels = output.float().split(self.sizes, dim=2)
        level = bands @ self.gains
        bounded = level.clamp(max=_MAX_LOG_GAIN)
        if self.training:
            # The bound passes gradients on, or a frame that discriminators drove past it would stay there.
            bounded = level + (bounded - level).detach()
        gain = bounded.exp()
        if self.contrast is not None and not self.training:
            gain = gain * self.contrast((real.square() + imag.square()) * gain.square())
        rows, index = self._next_rows(latent, state)
        combed, share = None, self.noise_share if self.noise is not None else None
        if self.comb is not None and not self.training:
            power = (real.square() + imag.square()) * gain.square()
            *combed, kept = self.comb(noise_levels, power, rows)
            share = share * kept.unsqueeze(2)
        if self.noise is not None:
            gain = gain * self.harmonic_share
        real, imag = real * gain, imag * gain
        if self.draws_phases:
            cos, sin = self.turns[rows].unbind(dim=2)
            real, imag = real * cos - imag * sin, real * sin + imag * cos
        if combed is not None:
            real, imag = real + combed[0], imag + combed[1]
        noise = None if self.noise is None else self.noise(noise_levels, share, rows)
        wav, overlap = self.istft(torch.complex(real, imag), state.overlap if state else None, noise)
        return wav, DecoderState(backbone, overlap, index)

    def _next_rows(self, latent: Tensor, state: DecoderState | None) -> tuple[Tensor | None, Tensor | None]:
        """Places in the tables of random numbers for frames ``latent (B, D, n)``, and the index after them."""
        if self.noise is None and not self.draws_phases:
            return None, None
        batch, _, frames = latent.shape
        index = state.noise_index if state else None
        if index is None:
            index = torch.zeros(batch, 1, device=latent.device)
        return places(index, frames), (index + frames).remainder(PERIOD)
