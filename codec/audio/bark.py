"""Bark bands and Zwicker loudness of power spectra, with the constants of ITU-T P.862 (PESQ) at 16 kHz."""

from itertools import accumulate

import torch
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum, squared_magnitude

N_FFT = 512
HOP = 256
FULL_SCALE = 32768.0
"""The standard's constants are for 16-bit samples."""

# Bins of 31.25 Hz in each band, from 0 Hz up.
_BINS = [
    *[1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2],
    *[3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6, 7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20],
]
# Widths of the bands in Bark.
_WIDTHS = [
    *[0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114, 0.354897],
    *[0.359729, 0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989, 0.400236, 0.405538],
    *[0.410894, 0.416306, 0.421773, 0.427297, 0.432877, 0.438514, 0.444209, 0.449962, 0.455774, 0.461645],
    *[0.467577, 0.473569, 0.479621, 0.485736, 0.491912, 0.498151, 0.504454, 0.510819, 0.517250, 0.523745],
    *[0.530308, 0.536934, 0.543629, 0.550390, 0.557220, 0.564119, 0.571085, 0.578125, 0.585232],
]
# Powers at the threshold of hearing in dB.
_THRESHOLDS = [
    *[77.1, 63.9, 48.5, 36.9, 30.7, 25.9, 20.2, 16.6, 12.5, 9.9, 6.9, 4.9, 2.8, 1.0, -0.1, -1.4, -2.5],
    *[-3.4, -4.1, -4.8, -5.3, -5.7, -5.9, -6.0, -6.0, -6.0, -6.0, -5.8, -5.4, -5.1, -4.7, -4.3, -4.0],
    *[-3.6, -3.3, -3.1, -3.0, -3.0, -2.9, -2.8, -2.8, -2.8, -2.9, -3.2, -3.7, -4.3, -4.4, -3.8, -2.7],
]
# Weights of a bin's power in its band: bands hold whole bins, this makes up for it.
_WEIGHTS = [
    *[100.0] * 8,
    *[50.0, 100.0, 100.0, 100.0, 100.0, 100.0, 53.047, 110.0, 117.992, 65.0, 68.76, 69.99993, 71.429],
    *[75.0, 76.843, 80.969, 88.646, 63.864, 68.155, 72.548, 75.585, 58.379, 80.951, 64.136, 54.385, 73.822],
    *[64.437, 59.176, 65.521, 61.4, 58.144, 57.005, 64.126, 54.311, 61.115, 55.078, 56.849, 55.629, 53.137],
    *[54.986, 79.547],
]
_POWER_SCALE = 6.910853e-6
_LOUDNESS_SCALE = 0.1866055
_EXPONENT = 0.23


class BarkPower(nn.Module):
    """Waveforms at 16 kHz to powers in 49 Bark bands, in frames of 32 ms every 16 ms."""

    bands: Tensor
    widths: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.spectrum = Spectrum(N_FFT, HOP)
        bands = torch.zeros(sum(_BINS), len(_BINS))
        for band, (end, count) in enumerate(zip(accumulate(_BINS), _BINS, strict=True)):
            bands[end - count : end, band] = _WEIGHTS[band] * _POWER_SCALE * FULL_SCALE**2
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("widths", torch.tensor(_WIDTHS), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, T)`` to ``(B, frames, 49)``, float32 even under autocast."""
        with torch.autocast(wav.device.type, enabled=False):
            return squared_magnitude(self.spectrum(wav))[..., : self.bands.shape[0]] @ self.bands


class Loudness(nn.Module):
    """Powers in Bark bands to loudness densities in sone per Bark (Zwicker's law, P.862 section 10.2.4)."""

    thresholds: Tensor
    exponents: Tensor

    def __init__(self) -> None:
        super().__init__()
        widths = torch.tensor(_WIDTHS)
        centres = widths.cumsum(0) - widths / 2
        # Below 4 Bark loudness grows faster with power.
        steeper = torch.where(centres < 4, 6 / (centres + 2), 1.0).clamp(max=2) ** 0.15
        self.register_buffer("thresholds", 10 ** (torch.tensor(_THRESHOLDS) / 10), persistent=False)
        self.register_buffer("exponents", _EXPONENT * steeper, persistent=False)

    def forward(self, power: Tensor) -> Tensor:
        """``(..., 49)`` to ``(..., 49)``; what is inaudible is 0."""
        # At least 1 inside the power, so that the slope is finite where nothing is audible.
        audible = (power / self.thresholds).clamp(min=1)
        growth = (0.5 + 0.5 * audible) ** self.exponents - 1
        return _LOUDNESS_SCALE * (self.thresholds / 0.5) ** self.exponents * growth
