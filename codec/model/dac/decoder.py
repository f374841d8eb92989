"""Latent frames to waveform, with a view of both sides."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.dac.blocks import Snake, plain, units, up
from codec.model.dac.config import DacConfig
from codec.model.registry import Decoder


class DacDecoder(Decoder):
    """The decoder of DAC (Kumar et al. 2023, section 3.1).

    Each odd stride loses a sample, so that the 16 and 24 kHz models make 8 less than the hop of the last frame
    holds. They are zeros.
    """

    causal = False
    delay = 0
    min_rows = 1

    def __init__(self, config: DacConfig):
        super().__init__()
        self.hop_length = config.hop_length
        dim, stages = config.decoder_dim, []
        self.first = plain(config.latent_dim, dim, 7)
        for stride in reversed(config.strides):
            stages.append(nn.Sequential(Snake(dim), up(dim, dim // 2, stride), *units(dim // 2)))
            dim //= 2
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(Snake(dim), plain(dim, 1, 7))

    def forward(self, latent: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """``latent (B, D, n)`` to ``(wav (B, n * hop), None)``."""
        wav = self.last(self.stages(self.first(latent))).squeeze(1).tanh()
        return F.pad(wav, (0, latent.shape[2] * self.hop_length - wav.shape[1])).float(), None
