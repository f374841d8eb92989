"""The network: encoder, quantizer and decoder, and how their rates belong together."""

from typing import Any

import torch
from torch import nn

from codec.model.aliases import Aliases
from codec.model.config import CodecConfig
from codec.model.registry import architecture_of
from codec.quantizers import Quantizer, quantizer_class


class Network(nn.Module):
    """The content of a checkpoint; :class:`codec.model.codec.Codec` is the class for users.

    The submodules ``encoder``, ``quantizer`` and ``decoder`` are the whole network; training adds
    its own parts from outside.

    Attributes:
        aliases: earlier names of the tokens of the weights that were loaded.
    """

    def __init__(self, config: CodecConfig | None = None):
        super().__init__()
        self.config = config or CodecConfig()
        network = self.config.network
        parts = architecture_of(self.config.architecture)
        self.encoder = parts.encoder(network)
        if self.encoder.delay and (self.encoder.first_frames > 1 or self.encoder.any_end):
            raise TypeError(f"{type(self.encoder).__name__}: no delay beside first_frames or any_end")
        quantizer = self.config.quantizer
        # Any: a subclass takes the width of the latent too.
        make_quantizer: Any = quantizer_class(quantizer.type)
        self.quantizer: Quantizer = make_quantizer(quantizer, network.latent_dim)
        self.decoder = parts.decoder(network)
        self.aliases = Aliases()

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return self.config.sample_rate

    @property
    def hop_length(self) -> int:
        """Samples per token frame."""
        return self.config.network.hop_length

    @property
    def num_codebooks(self) -> int:
        return self.quantizer.num_codebooks

    @property
    def device(self) -> torch.device:
        """The device on which the network computes."""
        return self.quantizer.device

    @property
    def causal(self) -> bool:
        """Whether chunks with carried state give exactly the codes of the whole."""
        return self.encoder.causal and self.decoder.causal

    def bitrate(self, num_codebooks: int | None = None) -> float:
        """Bits per second of raw codes."""
        return self.quantizer.bits(num_codebooks) * self.config.frame_rate

    def num_frames(self, num_samples: int) -> int:
        """Token frames of a clip: ``ceil(num_samples / hop_length)``."""
        return -(-num_samples // self.hop_length)
