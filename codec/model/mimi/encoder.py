"""Waveform to latent frames: SEANet, a transformer, a strided convolution."""

from typing import Any

from torch import Tensor

from codec.model.mimi.config import MimiConfig
from codec.model.mimi.resampling import Downsample
from codec.model.mimi.transformer import Transformer
from codec.model.registry import Encoder
from codec.model.seanet.encoder import SeanetEncoder


class MimiEncoder(Encoder):
    """The encoder of Mimi (Défossez et al. 2024, section 3.3.1), causal."""

    causal = True
    any_end = True
    # A frame of tokens is two rows of each linear layer.
    min_rows = 1

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.seanet = SeanetEncoder(config.seanet)
        self.transformer = Transformer(config)
        self.downsample = Downsample(config.latent_dim, config.token_stride)

    def forward(self, wav: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """``wav (B, T)`` to ``(latent (B, D, ceil(T / hop)), state)``; T is a multiple of the hop, but at the end."""
        convolutions, past, context = (None, None, None) if state is None else state
        x, convolutions = self.seanet(wav, convolutions)
        x, past = self.transformer(x, past)
        latent, context = self.downsample(x, context)
        return latent, (convolutions, past, context)
