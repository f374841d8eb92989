"""Levels of equally wide bands of frequency, averaged over a few frames."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum, squared_magnitude
from codec.errors import CodecError


class BandLevels(nn.Module):
    """Natural logarithms of the mean power of bands.

    Power is averaged before the logarithm. The logarithm of one bin of noise lies 2.5 dB below that of its mean
    and scatters by 5.6 dB; over a band and some frames both nearly vanish.

    Args:
        sample_rate: Hz.
        n_fft: samples of window and transform; frames overlap by three quarters.
        frames: that are averaged, which overlap by half; ``None`` for all.
        width: of a band, Hz.
        above: where the first band begins, Hz.
        below: where the last band ends at the latest, Hz; ``None`` for half the sample rate.
        floor_db: mean square of a sample, in dB of full scale, below which all is alike.

    Raises:
        CodecError: when no band fits, or the window is too short for one.
    """

    bands: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        frames: int | None,
        width: float,
        above: float,
        floor_db: float,
        below: float | None = None,
    ):
        super().__init__()
        self.spectrum = Spectrum(n_fft, n_fft // 4, normalized=True)
        self.frames, self.floor = frames, 10 ** (floor_db / 10)
        self.register_buffer("bands", _bands(n_fft, sample_rate / 2, above, width, below), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, T)`` to ``(B, frames, bands)``."""
        power = squared_magnitude(self.spectrum(wav)) @ self.bands
        if self.frames is None:
            power = power.mean(1, keepdim=True)
        elif self.frames > 1:
            power = F.avg_pool1d(power.transpose(1, 2), self.frames, self.frames // 2).transpose(1, 2)
        return (power + self.floor).log()


def _bands(n_fft: int, nyquist: float, above: float, width: float, below: float | None) -> Tensor:
    """``(bins, bands)``: means over neighbouring bins; bands end below half the sample rate."""
    end = nyquist if below is None else below
    if end > nyquist:
        raise CodecError(f"below {below} Hz lies beyond half the sample rate")
    if not 0 <= above <= end - width:
        limit = "" if below is None else f" and below {below} Hz"
        raise CodecError(f"no band of {width} Hz fits above {above} Hz{limit}")
    frequency = torch.linspace(0, nyquist, n_fft // 2 + 1)
    count = int((end - above) / width + 1e-6)
    lower = above + width * torch.arange(count)
    inside = (frequency.unsqueeze(1) >= lower) & (frequency.unsqueeze(1) < lower + width)
    if not inside.any(dim=0).all():
        raise CodecError(f"n_fft {n_fft} is too short for {width} Hz")
    return inside.float() / inside.sum(0)
