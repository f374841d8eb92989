"""Distance in loudness, a model of how a listener distinguishes two signals."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.audio.bark import FULL_SCALE, N_FFT, BarkPower, Loudness
from codec.errors import CodecError
from codec.train.losses.context import LossContext
from codec.train.losses.registry import loss
from codec.train.types import LossInput

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


@loss("loudness")
class LoudnessLoss(nn.Module):
    """Disturbance of ITU-T P.862 (PESQ): ``0.1 D + 0.0309 D_a``, in points of the raw score below 4.5.

    D is the difference in loudness beyond what is masked; D_a counts only what was added, the more the
    larger its ratio to what was there. Both are norms over bands, then of order 6 inside a syllable, of
    order 2 over syllables. As in PMSQE (Martin-Donas et al. 2018) it is a loss: there is no alignment in time. Levels
    and colour are not made up for, since a codec should keep them.
    """

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if context.sample_rate != 16_000:
            raise CodecError(f"losses.loudness: its bands are for 16000 Hz, found {context.sample_rate} Hz")
        self.power = BarkPower()
        self.loudness = Loudness()

    def forward(self, inputs: LossInput) -> Tensor:
        real = inputs.real.float()
        with torch.no_grad():
            gain = self._gain(real)
            reference = self.power(real * gain)
            # Frames of a loud passage reveal more of a disturbance than those of a quiet one.
            weight = ((reference[..., 1:].sum(2) + 1e5) / 1e7) ** -0.04
        degraded = self.power(inputs.fake.float() * gain)
        symmetric, added = self._disturbances(reference, degraded)
        symmetric = (symmetric * weight).clamp(max=_MAX_DISTURBANCE)
        added = (added * weight).clamp(max=_MAX_DISTURBANCE)
        return _SYMMETRIC * over_time(symmetric) + _ASYMMETRIC * over_time(added)

    def _gain(self, wav: Tensor) -> Tensor:
        """``(B, 1)``: brings the speech band of each clip to the standard's level."""
        spectrum = self.power.spectrum(wav)[..., _LEVEL_BINS]
        # A frame's bins hold half of its power; 3 / 8 is the mean square of the window.
        power = 2 * (spectrum.real.square() + spectrum.imag.square()).sum(2) / (0.375 * N_FFT**2)
        return (_LEVEL / power.mean(1, keepdim=True).clamp(min=1e-12)).sqrt().clamp(max=_MAX_GAIN)

    def _disturbances(self, reference: Tensor, degraded: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric and added disturbance ``(B, frames)`` of powers ``(B, frames, bands)``."""
        decoded, target = self.loudness(degraded), self.loudness(reference)
        difference = decoded - target
        masked = _MASKING * torch.minimum(decoded, target)
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
