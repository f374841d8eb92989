"""Multi-period discriminator."""

import itertools
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.discriminators.registry import ConvStack, Opinion, discriminator
from codec.errors import CodecError


@discriminator("mpd")
class MultiPeriodDiscriminator(nn.Module):
    """The waveform folded to ``(T / p, p)`` for each period p, under convolutions along time.

    HiFi-GAN (Kong et al. 2020, arXiv 2010.05646, section 2.3); 41.1 M parameters by default.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes; the defaults are HiFi-GAN's."""

        periods: tuple[int, ...] = (2, 3, 5, 7, 11)
        """Samples, one sub-discriminator each."""
        channels: tuple[int, ...] = (32, 128, 512, 1024, 1024)
        """Channels of each layer; all but the last have stride 3."""

    def __init__(self, config: Config):
        super().__init__()
        if not config.periods or not config.channels:
            raise CodecError("discriminators.mpd: periods and channels must not be empty")
        self.periods = config.periods
        self.stacks = nn.ModuleList(_stack(config.channels) for _ in config.periods)

    def forward(self, wav: Tensor) -> list[Opinion]:
        """``wav (B, T)`` to one opinion per period."""
        pairs = zip(self.periods, self.stacks, strict=True)
        return [stack(_fold(wav, period)) for period, stack in pairs]


def _fold(wav: Tensor, period: int) -> Tensor:
    """``(B, T)`` to ``(B, 1, ceil(T / period), period)``, the end reflected."""
    wav = F.pad(wav.unsqueeze(1), (0, -wav.shape[1] % period), mode="reflect")
    return wav.unflatten(2, (-1, period))


def _stack(channels: tuple[int, ...]) -> ConvStack:
    layers = []
    for depth, (inputs, outputs) in enumerate(itertools.pairwise((1, *channels)), start=1):
        stride = 3 if depth < len(channels) else 1
        layers.append(weight_norm(nn.Conv2d(inputs, outputs, (5, 1), (stride, 1), padding=(2, 0))))
    last = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))
    return ConvStack(layers, last, slope=0.1, logits_are_features=True)
