"""Multi-scale distance of power-compressed complex spectra."""

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.spectrum import CompressedSpectrum, Spectrum, power_compress
from codec.errors import CodecError
from codec.train.losses.registry import SHORTEST_WINDOW, LossContext, check_least, loss
from codec.train.types import LossInput


@loss("stft")
class STFTLoss(nn.Module):
    """``mean_s [ w_c mean |X_s^c - Y_s^c|^p + w_m mean ||X_s|^c - |Y_s|^c|^p ]``, p = 1 or 2.

    ``X_s^c`` is ``|X_s|^c e^{j phi}``, whose real and imaginary parts are compared as separate
    numbers: the phase-aware compressed loss of Braun and Tashev (2021, arXiv 2009.12286) at several
    resolutions. Spectra are normalised by window energy so that scales weigh alike.
    """

    @dataclass(frozen=True)
    class Config:
        """Scales and weights."""

        n_fft: tuple[int, ...] = (256, 512, 1024)
        hop_length: tuple[int, ...] | None = None
        """A quarter of ``n_fft`` by default."""
        exponent: float = 0.3
        """c: 1 keeps the spectrum, smaller values bring up quiet bins."""
        distance: Literal["l1", "l2"] = "l1"
        complex_weight: float = 1.0
        magnitude_weight: float = 1.0
        floor: float = 1e-4
        """Magnitude of a normalised bin below which compression turns linear (-80 dB)."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        hops = config.hop_length or tuple(n_fft // 4 for n_fft in config.n_fft)
        if not config.n_fft or len(hops) != len(config.n_fft):
            raise CodecError(f"losses.{context.name}: n_fft and hop_length differ in length, or are empty")
        check_least(context, "n_fft", config.n_fft, SHORTEST_WINDOW)
        check_least(context, "hop_length", hops, 1)
        if not 0 < config.exponent <= 1:
            raise CodecError(f"losses.{context.name}: exponent must lie in (0, 1], got {config.exponent}")
        self.config = config
        self.distance = F.l1_loss if config.distance == "l1" else F.mse_loss
        self.spectra = nn.ModuleList(
            Spectrum(n_fft, hop, normalized=True) for n_fft, hop in zip(config.n_fft, hops, strict=True)
        )

    def forward(self, inputs: LossInput) -> Tensor:
        total = inputs.fake.new_zeros(())
        for spectrum in self.spectra:
            with torch.no_grad():
                real = self._compress(spectrum(inputs.real))
            fake = self._compress(spectrum(inputs.fake))
            parts = self.distance(fake.real, real.real) + self.distance(fake.imag, real.imag)
            total = total + self.config.complex_weight * parts / 2
            total = total + self.config.magnitude_weight * self.distance(fake.magnitude, real.magnitude)
        return total / len(self.spectra)

    def _compress(self, spectrum: Tensor) -> CompressedSpectrum:
        return power_compress(spectrum, self.config.exponent, self.config.floor)
