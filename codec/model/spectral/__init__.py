"""The default architecture: ConvNeXt blocks between a causal STFT and its inverse."""

from codec.model.spectral.config import SpectralConfig

__all__ = ["SpectralConfig"]
