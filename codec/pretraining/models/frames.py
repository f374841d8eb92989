"""A codec's own encoder without the rest of the codec: what masked prediction over its frames trains."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.config import CodecConfig
from codec.model.registry import Encoder, architecture_of

_CHUNK = 1024
"""Frames that are computed at once."""


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
        return self.encoder.whole(wav).transpose(1, 2)

    def frames(self, wavs: list[Tensor]) -> list[Tensor]:
        """Frames of clips of any length, ``(n_i,)`` samples to ``(ceil(n_i / hop), dim)`` float32 on the CPU."""
        return [latents(self.encoder, wav, self.hop) for wav in wavs]


@torch.no_grad()
def latents(encoder: Encoder, wav: Tensor, hop: int) -> Tensor:
    """What a codec's encoder makes of a clip ``(n,)`` of any length: ``(ceil(n / hop), D)`` float32 on the CPU."""
    device = next(encoder.parameters()).device
    if not encoder.causal:
        # It fills up the end itself.
        return encoder(wav[None].to(device))[0][0].T.float().cpu()
    found, state = [], None
    for chunk in F.pad(wav, (0, -len(wav) % hop + encoder.delay)).split(_CHUNK * hop):
        latent, state = encoder(chunk[None].to(device), state)
        found.append(latent[0].T.float().cpu())
    return torch.cat(found)[encoder.delay // hop :]
