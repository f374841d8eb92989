"""Settings of the ``dac`` architecture."""

import math
from dataclasses import dataclass
from typing import ClassVar

from codec.errors import CodecError


@dataclass(frozen=True)
class DacConfig:
    """Sizes of encoder and decoder; the defaults are those of the 44.1 kHz model (Kumar et al. 2023)."""

    decoder_settings: ClassVar = ("decoder_dim",)

    encoder_dim: int = 64
    """Width at the waveform; every stride doubles it."""
    strides: tuple[int, ...] = (2, 4, 8, 8)
    """Of the encoder, from the waveform to the latent; the decoder runs them backwards."""
    latent_dim: int = 1024
    decoder_dim: int = 1536
    """Width at the latent; every stride halves it."""

    def __post_init__(self) -> None:
        if not self.strides or min(*self.strides, self.encoder_dim, self.latent_dim, self.decoder_dim) < 1:
            raise CodecError("config network: strides and widths must be 1 or more")
        if self.decoder_dim % 2 ** len(self.strides):
            raise CodecError(
                f"config network: decoder_dim {self.decoder_dim} cannot be halved {len(self.strides)} times"
            )

    @property
    def hop_length(self) -> int:
        """Samples between frames: the product of the strides."""
        return math.prod(self.strides)
