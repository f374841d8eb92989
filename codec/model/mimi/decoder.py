"""Latent frames to waveform: a transposed convolution, a transformer, SEANet."""

from typing import Any

from torch import Tensor

from codec.model.mimi.config import MimiConfig
from codec.model.mimi.resampling import Upsample
from codec.model.mimi.transformer import Transformer
from codec.model.registry import Decoder
from codec.model.seanet.decoder import SeanetDecoder


class MimiDecoder(Decoder):
    """The decoder of Mimi (Défossez et al. 2024, section 3.3.1), causal and without delay."""

    causal = True
    delay = 0
    # A frame of tokens is two rows of each linear layer.
    min_rows = 1

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.upsample = Upsample(config.latent_dim, config.token_stride)
        self.transformer = Transformer(config)
        self.seanet = SeanetDecoder(config.seanet)

    def forward(self, latent: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop), state)``."""
        overlap, past, convolutions = (None, None, None) if state is None else state
        x, overlap = self.upsample(latent, overlap)
        x, past = self.transformer(x, past)
        wav, convolutions = self.seanet(x, convolutions)
        return wav, (overlap, past, convolutions)
