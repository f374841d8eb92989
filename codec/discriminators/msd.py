"""Multi-scale discriminator."""

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm

from codec.discriminators.registry import ConvStack, Opinion, discriminator
from codec.errors import CodecError

# Kernel size, stride and groups of each layer.
_LAYERS = ((15, 1, 1), (41, 2, 4), (41, 2, 16), (41, 4, 16), (41, 4, 16), (41, 1, 16), (5, 1, 1))


@discriminator("msd")
class MultiScaleDiscriminator(nn.Module):
    """Grouped convolutions over the waveform and over its averages at half and quarter rate.

    MelGAN (Kumar et al. 2019, arXiv 1910.06711) as in HiFi-GAN (arXiv 2010.05646, section 2.3):
    spectral norm at the full rate, weight norm at the others; 29.6 M parameters by default.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes; the defaults are HiFi-GAN's."""

        scales: int = 3
        """Sub-discriminators, each at half the rate of the one before."""
        channels: tuple[int, ...] = (128, 128, 256, 512, 1024, 1024, 1024)
        """Channels of the seven layers."""

    def __init__(self, config: Config):
        super().__init__()
        if config.scales < 1 or len(config.channels) != len(_LAYERS):
            raise CodecError(f"discriminators.msd needs scales of 1 or more and {len(_LAYERS)} channels")
        if any(width % 16 for width in config.channels):
            raise CodecError(f"discriminators.msd: channels must be multiples of 16, got {config.channels}")
        norms = [spectral_norm] + [weight_norm] * (config.scales - 1)
        self.stacks = nn.ModuleList(_stack(config.channels, norm) for norm in norms)

    def forward(self, wav: Tensor) -> list[Opinion]:
        """``wav (B, T)`` to one opinion per scale."""
        x = wav.unsqueeze(1)
        opinions = []
        for depth, stack in enumerate(self.stacks):
            if depth:
                x = F.avg_pool1d(x, kernel_size=4, stride=2, padding=2)
            opinions.append(stack(x))
        return opinions


def _stack(channels: tuple[int, ...], norm: Callable[[nn.Conv1d], nn.Module]) -> ConvStack:
    layers = []
    inputs = 1
    for outputs, (kernel, stride, groups) in zip(channels, _LAYERS, strict=True):
        conv = nn.Conv1d(inputs, outputs, kernel, stride, padding=kernel // 2, groups=groups)
        layers.append(norm(conv))
        inputs = outputs
    last = norm(nn.Conv1d(inputs, 1, 3, padding=1))
    return ConvStack(layers, last, slope=0.1, logits_are_features=True)
