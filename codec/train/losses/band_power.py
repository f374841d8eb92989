"""Distance of band powers: what can be right where phases are drawn."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.audio.bands import BandLevels
from codec.errors import CodecError
from codec.train.losses.registry import (
    SHORTEST_WINDOW,
    LossContext,
    check_least,
    check_min_codebooks,
    loss,
    of_codebooks,
)
from codec.train.types import LossInput


@loss("band_power")
class BandPowerLoss(nn.Module):
    """``mean_s mean |log P_s(X) - log P_s(Y)|``, P the mean power of a band over a few frames.

    Power is averaged before the logarithm (:class:`codec.audio.bands.BandLevels`), so that noise of the right
    level has the least distance. ``frames: null`` averages over the whole crop: the level of each band.
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
        below: float | None = None
        """Hz where the last band ends at the latest; half the sample rate by default."""
        floor_db: float = -80.0
        """Mean square of a sample, in dB of full scale, below which all is alike."""
        min_codebooks: int = 1
        """Codebooks from which on a clip counts, so that the first need not carry what is asked for here."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if not config.n_fft or (config.frames is not None and len(config.frames) != len(config.n_fft)):
            raise CodecError(f"losses.{context.name}: frames and n_fft differ in length, or are empty")
        check_least(context, "n_fft", config.n_fft, SHORTEST_WINDOW)
        check_least(context, "frames", config.frames or (), 1)
        check_least(context, "band_hertz", [config.band_hertz], 1)
        check_min_codebooks(config.min_codebooks, context)
        self.min_codebooks = config.min_codebooks
        self.scales = nn.ModuleList(
            BandLevels(
                *(context.sample_rate, n_fft, frames, config.band_hertz),
                *(config.above, config.floor_db, config.below),
            )
            for n_fft, frames in zip(config.n_fft, config.frames or itertools.repeat(None), strict=False)
        )

    def forward(self, inputs: LossInput) -> Tensor:
        """See :class:`codec.train.losses.registry.loss`."""
        total = inputs.fake.new_zeros(())
        for levels in self.scales:
            with torch.no_grad():
                real = levels(inputs.real)
            distance = (levels(inputs.fake) - real).abs().flatten(1).mean(1)
            total = total + of_codebooks(distance, inputs, self.min_codebooks).mean()
        return total / len(self.scales)
