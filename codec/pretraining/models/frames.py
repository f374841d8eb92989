"""A codec's own encoder without the rest of the codec: what masked prediction over its frames trains."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.config import CodecConfig
from codec.model.registry import architecture_of


@dataclass(frozen=True)
class FrameEncoderConfig:
    """An encoder of latent frames."""

    model: CodecConfig = field(default_factory=CodecConfig)
    """The codec that it is to be the encoder of."""


class FrameEncoder(nn.Module):
    """Waveform to latent frames.

    Attributes:
        config: what it is.
        dim: size of a frame.
        sample_rate: Hz of the audio that it hears.
        hop: samples of a frame.
        rate: frames per second.
        offset: seconds of the first frame's centre.
    """

    def __init__(self, config: FrameEncoderConfig):
        super().__init__()
        model = config.model
        self.config, self.dim, self.hop = config, model.network.latent_dim, model.network.hop_length
        self.sample_rate, self.rate = model.sample_rate, model.frame_rate
        self.offset = 0.5 / self.rate
        self.encoder = architecture_of(model.architecture).encoder(model.network)

    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, F * hop)`` to ``(B, F, dim)``."""
        return self.encoder(wav)[0].transpose(1, 2)

    @torch.no_grad()
    def frames(self, wavs: list[Tensor]) -> list[Tensor]:
        """Frames of clips of any length, ``(n_i,)`` samples to ``(ceil(n_i / hop), dim)`` float32 on the CPU."""
        device = next(self.parameters()).device
        padded = [F.pad(wav, (0, -len(wav) % self.hop)) for wav in wavs]
        return [self(wav[None].to(device))[0].float().cpu() for wav in padded]
