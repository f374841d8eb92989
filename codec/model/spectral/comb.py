"""Harmonics in the noise of voiced frames: its spectrum gets the comb of the pitch that lower frequencies show.

Above some kilohertz a decoder knows levels of bands alone, and noise of these levels sounds hoarse where the
original is voiced. What is missing are harmonics, which need be exact neither in frequency nor in phase. The pitch
is not chosen, which would be a jump that rounding could flip: the comb is the mean of those of all lags, weighted by
how well they fit. So it fades out by itself towards high frequencies, where lags that fit nearly as well disagree. It
looks at one frame alone, needs no state and costs no delay. The idea is that of the pitch postfilter of speech
coders (Chen and Gersho 1995).
"""

import math

import torch
from torch import Tensor, nn

from codec.model.spectral.noise import PARTS, drawn_normal, log_amplitudes, rise

LAGS = (1 / 16, 5 / 16)
"""Shortest and longest period, as parts of the window (2.5 and 12.5 ms at 40 ms, which is 400 to 80 Hz)."""
HEARD = 0.1875
"""Where the part of the spectrum ends whose pitch is taken, as a part of half the sample rate (1.5 kHz at 16 kHz)."""
FALL = 0.375
"""Where the share of the comb begins to fall, down to 0 at half the sample rate (3 kHz at 16 kHz)."""
SHARPNESS = 300.0
"""Of the choice among lags: factor on correlations in the exponent of their weights."""
LONG = 0.128
"""Correlation by which the shortest lag is preferred to one as long as the window, against multiples of the period."""
UNVOICED, VOICED = 0.05, 0.2
"""Greatest correlation at which no noise is combed, and from which on all is."""
REACH = 0.05
"""How far the mean power around a frequency reaches to either side, as a part of half the sample rate (400 Hz)."""
_LEAST = 1e-12


class PitchComb(nn.Module):
    """Gives a share of the noise as frames of the whole window, which resolve harmonics, under a comb.

    With correlations ``r(l)`` of the frame at lag l, from the root of its power below :data:`HEARD`, the comb is
    ``C(f) = sum_l softmax(r(l)) cos(2 pi f l)`` and the amplitude of noise gets the factor ``exp(depth C(f))``, over
    its mean power within :data:`REACH`.
    """

    lows: Tensor
    heard: Tensor
    cosines: Tensor
    prior: Tensor
    mean: Tensor
    fall: Tensor
    bands: Tensor
    share: Tensor
    numbers: Tensor

    def __init__(self, depth: float, bands: Tensor, noise_from: float):
        """
        Args:
            depth: 0 for noise as it is; 5 is a comb of 87 dB between teeth and gaps, where all lags agree.
            bands: ``(bands, bins)`` by which levels of noise at bands become levels at frequencies.
            noise_from: see :class:`codec.model.spectral.config.SpectralConfig`.
        """
        super().__init__()
        bins = bands.shape[1]
        window = 2 * (bins - 1)
        lags = torch.arange(round(LAGS[0] * window), round(LAGS[1] * window) + 1, dtype=torch.float64)
        frequency = torch.linspace(0, 1, bins, dtype=torch.float64)
        cosines = (2 * math.pi / window * lags.unsqueeze(1) * torch.arange(bins)).cos()
        heard = torch.arange(bins).ge(2) & frequency.lt(HEARD)
        half = round(REACH * (bins - 1))
        near = (torch.arange(bins).unsqueeze(1) + torch.arange(-half, half + 1)).clamp(0, bins - 1)
        mean = torch.zeros(bins, bins).scatter_add_(1, near, torch.full(near.shape, 1 / near.shape[1]))
        self.depth = depth
        tables = {
            "lows": cosines.T * heard.unsqueeze(1),
            "heard": heard,
            "cosines": cosines,
            "prior": LONG * lags / window,
            "mean": mean.T,
            "fall": ((1 - frequency) / (1 - FALL)).clamp(0, 1),
            "bands": bands,
            # Noise of frames twice as long has half the power of that of two parts.
            "share": math.sqrt(PARTS) * rise(noise_from / 2, bins),
            "numbers": drawn_normal(bins),
        }
        for name, table in tables.items():
            self.register_buffer(name, table.float(), persistent=False)

    def forward(self, levels: Tensor, power: Tensor, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Combed noise for frames.

        Args:
            levels: ``(B, n, 2 * bands)`` natural logarithms of amplitudes of the noise.
            power: ``(B, n, bins)`` of the spectrum without noise.
            rows: ``(B, n)`` places of the frames in the table of random numbers.

        Returns:
            Real and imaginary part ``(B, n, bins)`` to be added to the spectrum, and the factor
            ``(B, n, (bins + 1) / 2)`` on amplitudes of the noise that stays as it was.
        """
        comb, voiced = self._pitch(power)
        tooth = (self.depth * comb).exp()
        tooth = tooth / (tooth.square() @ self.mean).sqrt()
        share = voiced * self.fall
        amplitude = _root((2 * log_amplitudes(levels, self.bands)).exp().mean(2)) * self.share * tooth * _root(share)
        numbers = self.numbers[rows]
        return amplitude * numbers[:, :, 0], amplitude * numbers[:, :, 1], _root(1 - share[..., ::2])

    def _pitch(self, power: Tensor) -> tuple[Tensor, Tensor]:
        """The comb ``(B, n, bins)`` from -1 to 1, and how voiced frames are, ``(B, n, 1)`` from 0 to 1."""
        amplitude = (power + _LEAST).sqrt()
        # A sum, and not a product with a vector, which rounds by the number of frames.
        fit = amplitude @ self.lows / (amplitude * self.heard).sum(2, keepdim=True)
        weights = torch.softmax(SHARPNESS * (fit - self.prior), dim=2)
        voiced = (fit.amax(2, keepdim=True) - UNVOICED) / (VOICED - UNVOICED)
        return weights @ self.cosines, voiced.clamp(0, 1)


def _root(power: Tensor) -> Tensor:
    """Square root whose gradient at zero is zero and not infinite; -120 dB stand for zero."""
    return power.clamp(min=_LEAST).sqrt()
