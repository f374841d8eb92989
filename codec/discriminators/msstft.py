"""Multi-scale STFT discriminator."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.audio.spectrum import Spectrum
from codec.discriminators.registry import ConvStack, Opinion, discriminator
from codec.errors import CodecError


@discriminator("msstft")
class MultiScaleSTFTDiscriminator(nn.Module):
    """2-D convolutions over the real and imaginary parts of several complex spectrograms.

    EnCodec (Defossez et al. 2022, arXiv 2210.13438, section 3.4 and figure 2) with the five scales
    of SpeechTokenizer; 0.47 M parameters by default.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes."""

        n_fft: tuple[int, ...] = (1024, 2048, 512, 256, 128)
        """Window and transform of each sub-discriminator; the hop is a quarter."""
        filters: int = 32
        """Channels of every layer."""

    def __init__(self, config: Config):
        super().__init__()
        if not config.n_fft:
            raise CodecError("discriminators.msstft: n_fft must not be empty")
        self.spectra = nn.ModuleList(
            Spectrum(n_fft, n_fft // 4, center=False, normalized=True) for n_fft in config.n_fft
        )
        self.stacks = nn.ModuleList(_stack(config.filters) for _ in config.n_fft)

    def forward(self, wav: Tensor) -> list[Opinion]:
        """``wav (B, T)``, at least as long as the longest window, to one opinion per scale."""
        opinions = []
        for spectrum, stack in zip(self.spectra, self.stacks, strict=True):
            bins = spectrum(wav)
            opinions.append(stack(torch.stack([bins.real, bins.imag], dim=1)))
        return opinions


def _stack(filters: int) -> ConvStack:
    """Over ``(B, 2, frames, bins)``: dilated in time, strided in frequency."""
    # The first layer has no norm: the spectrum's own scale stays visible.
    layers: list[nn.Module] = [nn.Conv2d(2, filters, (3, 9), padding=(1, 4))]
    for dilation in (1, 2, 4):
        conv = nn.Conv2d(filters, filters, (3, 9), (1, 2), padding=(dilation, 4), dilation=(dilation, 1))
        layers.append(weight_norm(conv))
    layers.append(weight_norm(nn.Conv2d(filters, filters, (3, 3), padding=(1, 1))))
    last = weight_norm(nn.Conv2d(filters, 1, (3, 3), padding=(1, 1)))
    return ConvStack(layers, last, slope=0.2, logits_are_features=False)
