"""How much a copy's loudness disturbs a listener who knows the original: the core of ITU-T P.862 (PESQ)."""

import torch
from torch import Tensor, nn

from codec.audio.bark import FULL_SCALE, N_FFT, BarkPower, Loudness
from codec.audio.spectrum import squared_magnitude

# Of the standard: power between 350 and 3250 Hz that signals are brought to, for 16-bit samples.
_LEVEL = 1e7 / FULL_SCALE**2
_LEVEL_BINS = slice(12, 104)
_MAX_GAIN = 100.0
_MASKING = 0.25
_SYMMETRIC, _ASYMMETRIC = 0.1, 0.0309
_MAX_DISTURBANCE = 45.0
_SMALL = 1e-3
_SYLLABLE = 20
"""Frames of a syllable (0.32 s), which overlap by half."""


class Disturbance(nn.Module):
    """``0.1 D + 0.0309 D_a`` of waveforms at 16 kHz, in points of PESQ's raw score below 4.5.

    D is the difference in loudness beyond what is masked; D_a counts only what was added, the more the
    larger its ratio to what was there. Both are norms over bands, then of order 6 inside a syllable, of
    order 2 over syllables. There is no alignment in time, and neither levels nor colour are made up for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.power = BarkPower()
        self.loudness = Loudness()

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Two waveforms ``(B, T)`` to a scalar, differentiable in ``fake``; its slope is finite in silence too."""
        real = real.float()
        with torch.no_grad():
            gain = self._gain(real)
            reference = self.power(real * gain)
            # Frames of a loud passage tell more of a disturbance than those of a quiet one.
            weight = ((reference[..., 1:].sum(2) + 1e5) / 1e7) ** -0.04
        degraded = self.power(fake.float() * gain)
        symmetric, added = self._disturbances(reference, degraded)
        symmetric = (symmetric * weight).clamp(max=_MAX_DISTURBANCE)
        added = (added * weight).clamp(max=_MAX_DISTURBANCE)
        return _SYMMETRIC * over_time(symmetric) + _ASYMMETRIC * over_time(added)

    def _gain(self, wav: Tensor) -> Tensor:
        """``(B, 1)``: brings the speech band of each clip to the standard's level."""
        spectrum = self.power.spectrum(wav)[..., _LEVEL_BINS]
        # A frame's bins hold half of its power; 3 / 8 is the mean square of the window.
        power = 2 * squared_magnitude(spectrum).sum(2) / (0.375 * N_FFT**2)
        return (_LEVEL / power.mean(1, keepdim=True).clamp(min=1e-12)).sqrt().clamp(max=_MAX_GAIN)

    def _disturbances(self, reference: Tensor, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric and added disturbance ``(B, frames)`` of powers ``(B, frames, bands)``."""
        heard, meant = self.loudness(degraded), self.loudness(reference)
        difference = heard - meant
        masked = _MASKING * torch.minimum(heard, meant)
        audible = (difference.abs() - masked).clamp(min=0)
        widths = self.power.widths
        total = widths.sum()
        symmetric = _root((audible * widths).square().sum(2) / total) * total
        ratio = ((degraded + 50) / (reference + 50)).clamp(max=12) ** 1.2
        factor = ratio.clamp(max=12) * (ratio >= 3)
        added = (audible * (difference > 0) * widths * factor).sum(2)
        return symmetric, added


def over_time(disturbance: Tensor) -> Tensor:
    """``(B, frames)`` to a scalar: norm of order 6 in syllables, of order 2 over them, mean over clips."""
    length = min(_SYLLABLE, disturbance.shape[1])
    syllables = disturbance.unfold(1, length, max(1, length // 2))
    loud = ((syllables + _SMALL) ** 6).mean(2) ** (1 / 6) - _SMALL
    return _root(loud.square().mean(1)).mean()


def _root(square: Tensor) -> Tensor:
    """Square root whose slope is finite at zero."""
    return (square + _SMALL**2).sqrt() - _SMALL
