"""Multi-band discriminator: the light one, for CPU budgets."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from codec.audio.spectrum import Spectrum, power_compress
from codec.discriminators.registry import ConvStack, Opinion, discriminator
from codec.errors import CodecError


@discriminator("multiband")
class MultiBandDiscriminator(nn.Module):
    """1-D convolutions along time over bands of compressed spectrograms, bins as channels.

    Several resolutions split into bands, as in DAC (Kumar et al. 2023, arXiv 2306.06546, section
    3.3), but a band's bins are the input channels of dense 1-D convolutions: nearly all of the
    cost is matrix products, and a 2-D filter bank of the same reach is many times dearer on a CPU.
    Each band sees real part, imaginary part and magnitude of power-compressed bins, so that quiet
    detail counts and a narrow network need not learn to square and root.
    """

    @dataclass(frozen=True)
    class Config:
        """Sizes."""

        n_fft: tuple[int, ...] = (256, 512, 1024)
        """Window and transform of each resolution; the hop is a quarter."""
        band_edges: tuple[float, ...] = (0.0, 0.125, 0.3, 1.0)
        """Fractions of half the sample rate between which the bands lie."""
        width: int = 96
        """Channels of every layer of a band."""
        strides: tuple[int, ...] = (1, 2, 2)
        """Along time, of the layers after the first."""
        kernel_size: int = 5
        exponent: float = 0.3
        """Power of the compressed magnitude."""

    def __init__(self, config: Config):
        super().__init__()
        edges = config.band_edges
        if len(edges) < 2 or list(edges) != sorted(set(edges)) or edges[0] < 0 or edges[-1] > 1:
            raise CodecError(f"discriminators.multiband: band_edges must rise within 0 to 1, got {edges}")
        self.exponent = config.exponent
        self.spectra = nn.ModuleList(Spectrum(n_fft, n_fft // 4, normalized=True) for n_fft in config.n_fft)
        self.bands = [_bands(n_fft // 2 + 1, edges) for n_fft in config.n_fft]
        self.stacks = nn.ModuleList(
            nn.ModuleList(_stack(3 * (stop - start), config) for start, stop in bands) for bands in self.bands
        )

    def forward(self, wav: Tensor) -> list[Opinion]:
        """``wav (B, T)`` to one opinion per resolution and band."""
        opinions = []
        for spectrum, bands, stacks in zip(self.spectra, self.bands, self.stacks, strict=True):
            assert isinstance(stacks, nn.ModuleList)
            compressed = power_compress(spectrum(wav), self.exponent, floor=1e-4)
            for (start, stop), stack in zip(bands, stacks, strict=True):
                parts = (compressed.real, compressed.imag, compressed.magnitude)
                band = torch.cat([part[..., start:stop] for part in parts], dim=2)
                opinions.append(stack(band.transpose(1, 2)))
        return opinions


def _bands(bins: int, edges: tuple[float, ...]) -> list[tuple[int, int]]:
    """First and past-the-last bin of each band; bands share no bin and the last takes the rest."""
    marks = [round(edge * bins) for edge in edges]
    if any(stop <= start for start, stop in itertools.pairwise(marks)):
        raise CodecError(f"discriminators.multiband: a band of {bins} bins at edges {edges} is empty")
    return list(itertools.pairwise(marks))


def _stack(inputs: int, config: MultiBandDiscriminator.Config) -> ConvStack:
    layers = [weight_norm(nn.Conv1d(inputs, config.width, 3, padding=1))]
    for stride in config.strides:
        conv = nn.Conv1d(
            config.width, config.width, config.kernel_size, stride, padding=config.kernel_size // 2
        )
        layers.append(weight_norm(conv))
    last = weight_norm(nn.Conv1d(config.width, 1, 3, padding=1))
    return ConvStack(layers, last, slope=0.1, logits_are_features=False)
