"""Multi-scale log-mel distance."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.audio.mel import MelScale, MelSpectrogram
from codec.errors import CodecError
from codec.train.losses.registry import SHORTEST_WINDOW, LossContext, check_least, loss
from codec.train.types import LossInput


@loss("mel")
class MelLoss(nn.Module):
    """``sum_s w_s mean |log max(M_s(x), floor) - log max(M_s(x_hat), floor)|``.

    ``M_s`` are mel magnitudes at scale s and log is natural: the multi-scale form of HiFi-GAN's mel
    loss (Kong et al. 2020), with fewer bands at shorter windows so that no band is empty (as in
    Kumar et al. 2023, arXiv 2306.06546). The terms of the DM-Codec repository are
    ``n_fft=[1024,512,256,128], hop_length=[240,120,60,30], num_mels=[80,80,80,80],
    mel_scale=htk, scale_weights=[45,1,1,1]``.
    """

    @dataclass(frozen=True)
    class Config:
        """Scales, one entry of each list per scale."""

        n_fft: tuple[int, ...] = (128, 256, 512, 1024, 2048)
        num_mels: tuple[int, ...] = (10, 20, 40, 80, 160)
        hop_length: tuple[int, ...] | None = None
        """A quarter of ``n_fft`` by default."""
        scale_weights: tuple[float, ...] | None = None
        """Equal with sum one by default."""
        mel_scale: MelScale = "slaney"
        fmin: float = 0.0
        fmax: float | None = None
        floor: float = 1e-5

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        count = len(config.n_fft)
        hops = config.hop_length or tuple(n_fft // 4 for n_fft in config.n_fft)
        self.scale_weights = config.scale_weights or (1.0 / max(count, 1),) * count
        if not count or not count == len(config.num_mels) == len(hops) == len(self.scale_weights):
            raise CodecError(
                f"losses.{context.name}: n_fft, num_mels, hop_length and scale_weights differ in length, or are empty"
            )
        check_least(context, "n_fft", config.n_fft, SHORTEST_WINDOW)
        check_least(context, "hop_length", hops, 1)
        check_least(context, "num_mels", config.num_mels, 1)
        self.floor = config.floor
        self.spectrograms = nn.ModuleList(
            MelSpectrogram(
                context.sample_rate, n_fft, hop, num_mels, config.fmin, config.fmax, config.mel_scale
            )
            for n_fft, hop, num_mels in zip(config.n_fft, hops, config.num_mels, strict=True)
        )

    def forward(self, inputs: LossInput) -> Tensor:
        total = inputs.fake.new_zeros(())
        for weight, spectrogram in zip(self.scale_weights, self.spectrograms, strict=True):
            with torch.no_grad():
                real = spectrogram(inputs.real).clamp(min=self.floor).log()
            fake = spectrogram(inputs.fake).clamp(min=self.floor).log()
            total = total + weight * F.l1_loss(fake, real)
        return total
