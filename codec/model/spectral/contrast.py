"""Spectral contrast of a decoded frame: peaks are raised over the valleys between them.

A network that is trained by distances gives the mean of all spectra that fit a code. Means are smoother than
each of them: formants lose height, and the valleys between them fill up with what is not known exactly. The
remedy is that of coders of the telephone, a postfilter which follows the envelope of the spectrum (Chen and
Gersho 1995). Here it is a power of the ratio between a frequency and its surroundings. It looks at one frame
alone, so it needs no state, and it leaves the frame's energy as it was. It begins above the frequencies that say
most of who speaks.
"""

import torch
from torch import Tensor, nn

REACH = 0.1
"""How far the surroundings go to either side under a Hann window, as a part of half the sample rate."""
BEGIN, FULL = 0.125, 0.1875
"""Where it begins and where its strength is whole, as parts of half the sample rate (1 and 1.5 kHz at 16 kHz)."""
_LEAST_RATIO = 2.5e-3
_LEAST_POWER = 1e-12


class SpectralContrast(nn.Module):
    """Factors on amplitudes, ``(P / S)^(c / 2)``, with P the power of a frequency and S the mean around it.

    The strength c rises from 0 at :data:`BEGIN` to its whole at :data:`FULL`.

    Args:
        strength: the whole of c, from 0 for none.
        share: ``(bins,)`` factors on amplitudes that follow; what passes them has the same energy as before.
    """

    around: Tensor
    exponent: Tensor
    heard: Tensor

    def __init__(self, strength: float, share: Tensor):
        super().__init__()
        frequency = torch.linspace(0, 1, len(share))
        exponent = strength / 2 * ((frequency - BEGIN) / (FULL - BEGIN)).clamp(0, 1)
        self.register_buffer("exponent", exponent, persistent=False)
        self.register_buffer("around", _surroundings(len(share)), persistent=False)
        self.register_buffer("heard", share.square(), persistent=False)

    def forward(self, power: Tensor) -> Tensor:
        """``power (..., bins)`` to factors ``(..., bins)``."""
        power = power + _LEAST_POWER
        factor = (power / (power @ self.around)).clamp(min=_LEAST_RATIO).pow(self.exponent)
        heard = power * self.heard
        before, after = heard.sum(-1, keepdim=True), (heard * factor.square()).sum(-1, keepdim=True)
        return factor * (before / after).sqrt()


def _surroundings(bins: int) -> Tensor:
    """``(bins, bins)``: column k holds the weights of the mean around frequency k; columns sum to one.

    Frequencies beyond the ends are those at the ends.
    """
    half = round(REACH * (bins - 1))
    window = torch.hann_window(2 * half + 3, periodic=False, dtype=torch.float64)[1:-1]
    weights = torch.zeros(bins, bins, dtype=torch.float64)
    centre = torch.arange(bins)
    for offset, weight in zip(range(-half, half + 1), window, strict=True):
        weights[(centre + offset).clamp(0, bins - 1), centre] += weight
    return (weights / weights.sum(0)).float()
