"""The default architecture: ConvNeXt blocks between a causal STFT and its inverse."""

from codec.model.registry import architecture
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.decoder import SpectralDecoder
from codec.model.spectral.encoder import SpectralEncoder

__all__ = ["SpectralConfig", "SpectralDecoder", "SpectralEncoder"]

architecture("spectral", SpectralConfig, SpectralEncoder, SpectralDecoder)
