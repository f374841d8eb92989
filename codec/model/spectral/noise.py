"""Noise of a decoder: short frames whose phases are drawn from a table, by the index of the frame.

Speech above some kilohertz is noise-like; a phase that a network makes up there repeats from frame to
frame, which is audible as a buzz. So the network gives the level of each band, twice a frame, and the
phases are random numbers. They depend on the frame's index and the frequency alone: the same tokens give the same
audio, whole or in pieces. The split of speech into harmonics and noise is that of Stylianou (2001).

If phases alone are drawn, the envelope of a narrow band is constant in the middle of a noise frame and random
where two frames meet, so it pulses at the rate of the frames. If magnitudes are drawn too, as of Gaussian
noise, it is equally random everywhere.

Between harmonics whose phases tokens carry and noise lies a range, about 2 to 3 kHz, where harmonics can be
resolved but tokens say nothing of their phases. A network's phases there are the same in every frame, which
pulses as well. :func:`drawn_turns` keeps its magnitudes and turns their phases.
"""

import math
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.spectral.stft import sqrt_hann

PERIOD = 128
"""Frames after which the phases repeat: 2.56 s of the default hop."""
PARTS = 2
"""Noise frames in a hop: half as long as the decoder's frames, so twice as fine in time."""
MAX_LOG_LEVEL = 6.0
"""Bounds the loudness of noise while its levels are not trained yet."""
_TURNS, _NORMAL = 2**32, 2**33
"""The first of the numbers that turn phases and of those of long frames, far from those of noise."""

Draw = Literal["phase", "gaussian"]


class DrawnNoise(nn.Module):
    """Two noise frames for each frame of the decoder.

    With hop H, decoder frame h covers samples ``[(h-1)H, (h+1)H)``. Its noise frames are H long, begin H/4 and
    3H/4 after its start and lie wholly inside, so noise adds neither delay nor overlap to the decoder's own.
    """

    phases: Tensor
    window: Tensor
    bands: Tensor

    def __init__(self, hop_length: int, bands: Tensor, draw: Draw = "phase"):
        """
        Args:
            hop_length: H, a multiple of 4.
            bands: ``(bands, H / 2 + 1)`` by which levels at bands become levels at frequencies.
            draw: see :func:`drawn_phases`.
        """
        super().__init__()
        self.hop_length = hop_length
        self.register_buffer("phases", drawn_phases(PERIOD * PARTS, hop_length // 2 + 1, draw), persistent=False)
        self.register_buffer("window", sqrt_hann(hop_length), persistent=False)
        self.register_buffer("bands", bands, persistent=False)

    def forward(self, levels: Tensor, share: Tensor, rows: Tensor) -> Tensor:
        """Noise for frames.

        Args:
            levels: ``(B, n, 2 * bands)`` natural logarithms of amplitudes.
            share: ``(H / 2 + 1,)`` or ``(B, n, 1, H / 2 + 1)``, factor on the amplitude of each frequency.
            rows: ``(B, n)`` places of the frames in the table, of :func:`places`.

        Returns:
            Frames ``(B, n, 2 * H)`` to be added to the decoder's own.
        """
        phases = self.phases[rows]
        amplitude = log_amplitudes(levels, self.bands).exp() * share
        spectrum = torch.complex(amplitude * phases[..., 0, :], amplitude * phases[..., 1, :])
        first, second = (torch.fft.irfft(spectrum, n=self.hop_length) * self.window).unbind(dim=2)
        near, far = self.hop_length // 4, 3 * self.hop_length // 4
        return F.pad(first, (near, far)) + F.pad(second, (far, near))


def log_amplitudes(levels: Tensor, bands: Tensor) -> Tensor:
    """``(B, n, 2 * bands)`` levels and ``(bands, bins)`` by which they are interpolated to ``(B, n, 2, bins)``."""
    # A slice of what a network puts out would be multiplied two rows at a time, which takes two or three times as long.
    return (levels.contiguous().unflatten(2, (PARTS, -1)) @ bands).clamp(max=MAX_LOG_LEVEL)


def places(index: Tensor, frames: int) -> Tensor:
    """``(B, frames)`` int64 places of the next frames in a table of :data:`PERIOD` rows.

    Args:
        index: ``(B, 1)`` float32, number of the first of them, up to a multiple of the period.
    """
    numbers = index + torch.arange(frames, device=index.device, dtype=index.dtype)
    return numbers.remainder(PERIOD).long()


def drawn_turns(bins: int, position: float, octaves: float) -> Tensor:
    """Real and imaginary parts of factors that draw phases above a frequency: ``(PERIOD, 2, bins)`` float32.

    Below the rise around ``position`` they are 1, above it complex numbers of modulus 1 and random phase, and in it
    the mixture of both that keeps the mean power.

    Args:
        bins: evenly spaced frequencies from 0 to half the sample rate.
        position, octaves: see :func:`rise`.
    """
    phase = _uniform(_TURNS, PERIOD * bins).reshape(PERIOD, bins) * 2 * math.pi
    drawn, kept = rise(position, bins, octaves), fall(position, bins, octaves)
    return torch.stack([kept + drawn * phase.cos(), drawn * phase.sin()], dim=1).float()


def drawn_normal(bins: int) -> Tensor:
    """Real and imaginary parts of complex Gaussian numbers of mean power 1: ``(PERIOD, 2, bins)`` float32."""
    first, second = _uniform(_NORMAL, 2 * PERIOD * bins).reshape(2, PERIOD, bins)
    magnitude, phase = (-(1 - first).log()).sqrt(), 2 * math.pi * second
    return torch.stack([magnitude * phase.cos(), magnitude * phase.sin()], dim=1).float()


def drawn_phases(count: int, bins: int, draw: Draw = "phase") -> Tensor:
    """Real and imaginary parts of random numbers: ``(count / PARTS, PARTS, 2, bins)`` float32, mean power 1.

    The numbers are hashes of their places, so they are the same everywhere and need no file. The first and
    the last frequency are real.

    Args:
        count: noise frames, a multiple of :data:`PARTS`.
        bins: frequencies.
        draw: ``phase`` for a magnitude of 1, ``gaussian`` for complex Gaussian numbers (Rayleigh magnitudes,
            by the transform of Box and Muller 1958) of the same phases.
    """
    shape = (count // PARTS, PARTS, bins)
    phase = (_uniform(0, count * bins) * 2 * math.pi).reshape(shape)
    parts = torch.stack([phase.cos(), phase.sin()], dim=2)
    edge = torch.tensor([0, bins - 1])
    parts[:, :, 0, edge] = parts[:, :, 0, edge].sign()
    parts[:, :, 1, edge] = 0.0
    if draw == "gaussian":
        # One minus it lies above 0, and its logarithm is finite.
        parts *= (-(1 - _uniform(count * bins, count * bins)).log()).sqrt().reshape(shape).unsqueeze(2)
    return parts.float()


def _uniform(first: int, count: int) -> Tensor:
    """``(count,)`` float64 in [0, 1): hashes of the numbers from ``first`` (SplitMix64, Steele et al. 2014)."""
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return torch.from_numpy((z ^ z >> np.uint64(31)).astype(np.float64) / 2.0**64)


def rise(position: float, bins: int, octaves: float = 1.0) -> Tensor:
    """``(bins,)`` factors from 0 to 1, as a sine over the octaves around ``position``.

    Args:
        position: frequency as a part of half the sample rate, where the factor is ``sqrt(1/2)``.
        bins: evenly spaced frequencies from 0 to half the sample rate.
        octaves: width of the rise, centred on ``position``.
    """
    frequency = torch.linspace(0, 1, bins, dtype=torch.float64).clamp(min=1e-9)
    octave = torch.log2(frequency / position) / octaves
    return torch.sin((octave + 0.5).clamp(0.0, 1.0) * (math.pi / 2)).float()


def fall(position: float, bins: int, octaves: float = 1.0) -> Tensor:
    """``(bins,)`` factors from 1 to 0 whose squares and those of :func:`rise` add up to 1."""
    return (1 - rise(position, bins, octaves).square()).clamp(min=0).sqrt()
