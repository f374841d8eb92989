"""Distance of band powers: what can be right where phases are drawn."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum
from codec.errors import CodecError
from codec.train.losses.context import LossContext
from codec.train.losses.registry import loss
from codec.train.types import LossInput


@loss("band_power")
class BandPowerLoss(nn.Module):
    """``mean_s mean |log P_s(X) - log P_s(Y)|``, P the mean power of a band over a few frames.

    Power is averaged before the logarithm. The logarithm of one bin of noise lies 2.5 dB below that of its mean
    and scatters by 5.6 dB; over a band and some frames both nearly vanish, so that noise of the right level
    has the least distance. ``frames: null`` averages over the whole crop: the level of each band.
    """

    @dataclass(frozen=True)
    class Config:
        """Scales and bands."""

        n_fft: tuple[int, ...] = (256, 512, 1024, 2048)
        frames: tuple[int, ...] | None = (4, 3, 2, 1)
        """Frames that are averaged, which overlap by half, one number a scale; null for the whole crop."""
        band_hertz: float = 400.0
        """Width of a band."""
        above: float = 1500.0
        """Hz where the first band begins."""
        floor_db: float = -80.0
        """Mean square of a sample, in dB of full scale, below which all is alike."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if not config.n_fft or (config.frames is not None and len(config.frames) != len(config.n_fft)):
            raise CodecError("losses.band_power: frames and n_fft differ in length, or are empty")
        nyquist = context.sample_rate / 2
        if not 0 <= config.above <= nyquist - config.band_hertz:
            raise CodecError(f"losses.band_power: no band of {config.band_hertz} Hz fits above {config.above} Hz")
        self.config = config
        self.spectra = nn.ModuleList(Spectrum(n_fft, n_fft // 4, normalized=True) for n_fft in config.n_fft)
        for number, n_fft in enumerate(config.n_fft):
            bands = _bands(n_fft // 2 + 1, nyquist, config.above, config.band_hertz)
            if not bands.any(dim=0).all():
                raise CodecError(f"losses.band_power: n_fft {n_fft} is too short for {config.band_hertz} Hz")
            self.register_buffer(f"bands{number}", bands, persistent=False)

    def forward(self, inputs: LossInput) -> Tensor:
        total = inputs.fake.new_zeros(())
        for number in range(len(self.spectra)):
            with torch.no_grad():
                real = self._levels(inputs.real, number)
            total = total + (self._levels(inputs.fake, number) - real).abs().mean()
        return total / len(self.spectra)

    def _levels(self, wav: Tensor, number: int) -> Tensor:
        """Natural logarithms of band powers ``(B, frames, bands)``."""
        spectrum = self.spectra[number](wav)
        power = (spectrum.real.square() + spectrum.imag.square()) @ getattr(self, f"bands{number}")
        if self.config.frames is None:
            power = power.mean(1, keepdim=True)
        elif (frames := self.config.frames[number]) > 1:
            power = F.avg_pool1d(power.transpose(1, 2), frames, max(1, frames // 2)).transpose(1, 2)
        return (power + 10 ** (self.config.floor_db / 10)).log()


def _bands(bins: int, nyquist: float, above: float, width: float) -> Tensor:
    """``(bins, bands)``: means over neighbouring bins; bands end below half the sample rate."""
    frequency = torch.linspace(0, nyquist, bins)
    count = int((nyquist - above) / width + 1e-6)
    lower = above + width * torch.arange(count)
    inside = (frequency.unsqueeze(1) >= lower) & (frequency.unsqueeze(1) < lower + width)
    return inside.float() / inside.sum(0).clamp(min=1)
