"""Settings of the ``mimi`` architecture."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from codec.errors import CodecError
from codec.model.seanet.config import SeanetConfig


@dataclass(frozen=True)
class MimiConfig:
    """Sizes of encoder and decoder; the defaults are the released ones (Défossez et al. 2024, section 3.3)."""

    decoder_settings: ClassVar = ()

    n_filters: int = 64
    """Width at the waveform; every stride doubles it."""
    strides: tuple[int, ...] = (8, 6, 5, 4)
    """Of the SEANet decoder, from its frames to the waveform; the encoder runs them backwards."""
    latent_dim: int = 512
    """Width of the frames, of the transformers and of the quantized latent."""
    kernel_size: int = 7
    last_kernel_size: int = 3
    residual_kernel_size: int = 3
    n_residual_layers: int = 1
    dilation_base: int = 2
    compress: int = 2
    shortcut: Literal["convolution", "identity"] = "identity"
    token_stride: int = 2
    """Frames of the transformers for each frame of tokens."""
    layers: int = 8
    """Of the encoder's transformer and of the decoder's."""
    heads: int = 8
    head_dim: int = 64
    feedforward_dim: int = 2048
    window: int = 250
    """Frames that one frame attends to, itself included."""
    rope_theta: float = 10_000.0
    """Base of the wavelengths of the rotary positions (Su et al. 2021)."""
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("token_stride", "layers", "heads", "head_dim", "feedforward_dim", "window"):
            if getattr(self, name) < 1:
                raise CodecError(f"config network: {name} is {getattr(self, name)}; it must be 1 or more")
        if self.head_dim % 2:
            raise CodecError(f"config network: head_dim is {self.head_dim}; rotary positions need an even one")
        self.seanet.hop_length  # noqa: B018  (it checks the other settings)

    @property
    def hop_length(self) -> int:
        """Samples between frames of tokens."""
        return math.prod(self.strides) * self.token_stride

    @property
    def seanet(self) -> SeanetConfig:
        """Of the convolutions, without the LSTM that EnCodec has there."""
        return SeanetConfig(
            n_filters=self.n_filters,
            strides=self.strides,
            latent_dim=self.latent_dim,
            lstm_layers=0,
            bidirectional=False,
            kernel_size=self.kernel_size,
            last_kernel_size=self.last_kernel_size,
            residual_kernel_size=self.residual_kernel_size,
            n_residual_layers=self.n_residual_layers,
            dilation_base=self.dilation_base,
            compress=self.compress,
            shortcut=self.shortcut,
            causal=True,
            edges="zeros",
        )
