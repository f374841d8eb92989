"""Distance of log magnitudes, frame by frame, below a frequency."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum, magnitude
from codec.errors import CodecError
from codec.model.spectral.noise import fall
from codec.train.losses.registry import SHORTEST_WINDOW, LossContext, check_least, loss
from codec.train.types import LossInput


@loss("log_spectrum")
class LogSpectrumLoss(nn.Module):
    """``mean_s [ mean_t ||w (log |X_st| - log |Y_st|)||_2 + m mean w ||X_s| - |Y_s|| ]``.

    The Euclidean norm over a frame's frequencies, unlike the mean of their absolute or squared differences,
    weighs every frame alike and inside it the frequencies that are far off. Above ``below`` the weights w fall
    to 0 over ``fade`` octaves: where a decoder draws its phases, no single bin can be right, and the least distance
    of logarithms lies below the true level; :class:`codec.train.losses.band_power.BandPowerLoss` is for those.
    """

    @dataclass(frozen=True)
    class Config:
        """Scales and weights."""

        n_fft: tuple[int, ...] = (256, 512, 1024, 2048)
        below: float | None = 3000.0
        """Hz, where the weight is half in power; null compares all frequencies."""
        fade: float = 1.0
        """Octaves around ``below`` in which the weight falls to 0: the decoder's ``noise_fade``."""
        magnitude_weight: float = 40.0
        """m: of the mean difference of magnitudes, in units of full scale times window length."""
        floor: float = 1e-4
        """Magnitude, in the same units, below which all are alike."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if not config.n_fft:
            raise CodecError(f"losses.{context.name}: n_fft is empty; name one or more lengths")
        check_least(context, "n_fft", config.n_fft, SHORTEST_WINDOW)
        if config.below is not None and not 0 < config.below < context.sample_rate / 2:
            raise CodecError(f"losses.{context.name}: below must lie within the spectrum, got {config.below} Hz")
        if not 0 < config.fade <= 4:
            raise CodecError(f"losses.{context.name}: fade must lie above 0, at most 4 octaves, got {config.fade}")
        self.config = config
        self.spectra = nn.ModuleList(Spectrum(n_fft, n_fft // 4) for n_fft in config.n_fft)
        for number, n_fft in enumerate(config.n_fft):
            self.register_buffer(f"weight{number}", self._weight(n_fft, context), persistent=False)

    def forward(self, inputs: LossInput) -> Tensor:
        total = inputs.fake.new_zeros(())
        for number, spectrum in enumerate(self.spectra):
            weight = getattr(self, f"weight{number}")
            real = spectrum(inputs.real).abs()
            fake = magnitude(spectrum(inputs.fake))
            floor = self.config.floor
            logs = weight * (fake.clamp(min=floor).log() - real.clamp(min=floor).log())
            total = total + (logs.square().sum(2) + 1e-6).sqrt().mean()
            total = total + self.config.magnitude_weight * (weight * (fake - real)).abs().mean()
        return total / len(self.spectra)

    def _weight(self, n_fft: int, context: LossContext) -> Tensor:
        bins = n_fft // 2 + 1
        if self.config.below is None:
            return torch.ones(bins)
        return fall(2 * self.config.below / context.sample_rate, bins, self.config.fade)
