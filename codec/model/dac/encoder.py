"""Waveform to latent frames, with a view of both sides."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.dac.blocks import Snake, down, plain, units
from codec.model.dac.config import DacConfig
from codec.model.registry import Encoder


class DacEncoder(Encoder):
    """The encoder of DAC (Kumar et al. 2023, section 3.1)."""

    causal = False
    min_rows = 1

    def __init__(self, config: DacConfig):
        super().__init__()
        self.hop_length = config.hop_length
        dim, stages = config.encoder_dim, []
        self.first = plain(1, dim, 7)
        for stride in config.strides:
            stages.append(nn.Sequential(*units(dim), Snake(dim), down(dim, 2 * dim, stride)))
            dim *= 2
        self.stages = nn.Sequential(*stages)
        self.last = nn.Sequential(Snake(dim), plain(dim, config.latent_dim, 3))

    def forward(self, wav: Tensor, state: Any = None) -> tuple[Tensor, None]:
        """``wav (B, T)`` to ``(latent (B, D, ceil(T / hop)), None)``; zeros fill up the last frame."""
        x = F.pad(wav, (0, -wav.shape[1] % self.hop_length)).unsqueeze(1)
        return self.last(self.stages(self.first(x))), None
