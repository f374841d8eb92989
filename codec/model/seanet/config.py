"""Settings of the ``seanet`` architecture."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from codec.errors import CodecError


@dataclass(frozen=True)
class SeanetConfig:
    """Sizes of the SEANet encoder and decoder; the defaults are SpeechTokenizer's and DM-Codec's.

    With ``causal`` every frame depends on the past only and the latency is one hop; an LSTM must
    then be unidirectional, or be omitted with ``lstm_layers: 0``.
    """

    decoder_settings: ClassVar = ()

    n_filters: int = 64
    """Width at the waveform; every stride doubles it."""
    strides: tuple[int, ...] = (8, 5, 4, 2)
    """Strides of the decoder, from the latent to the waveform; the encoder has them in reverse."""
    latent_dim: int = 1024
    """Width of the quantized latent, and so of the codebooks."""
    lstm_layers: int = 2
    """Layers of the encoder's LSTM and of the decoder's; 0 omits both."""
    bidirectional: bool = True
    """Whether the encoder's LSTM reads both ways; the decoder's never does."""
    kernel_size: int = 7
    """Kernel size of the first convolution."""
    last_kernel_size: int = 7
    residual_kernel_size: int = 3
    n_residual_layers: int = 1
    """Residual blocks per stride."""
    dilation_base: int = 2
    """Residual block j of a stage dilates by ``dilation_base ** j``."""
    compress: int = 2
    """A residual block is narrower inside by this factor."""
    activation: Literal["elu", "snake"] = "elu"
    shortcut: Literal["convolution", "identity"] = "convolution"
    """What a residual block is added to: a pointwise convolution of its input, or the input itself."""
    causal: bool = False
    edges: Literal["silence", "zeros", "mirror"] = "silence"
    """Of a causal network: what lies outside of the signal. With ``silence`` the sound starts after silence and
    ends with it, to a whole frame. Otherwise each layer extends its own input, by zeros or by mirroring it, and
    a frame may be cut short by the end: imported models are trained so. With ``mirror`` the first frames need
    those after them, which a stream has to wait for."""

    def __post_init__(self) -> None:
        sizes = (
            *("n_filters", "latent_dim", "kernel_size", "last_kernel_size"),
            *("residual_kernel_size", "n_residual_layers", "dilation_base", "compress"),
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise CodecError(f"config network: {name} is {getattr(self, name)}; it must be 1 or more")
        if not self.strides or min(self.strides) < 1:
            raise CodecError(
                f"config network: strides {list(self.strides)} must be one or more, each 1 or more"
            )
        if self.lstm_layers < 0:
            raise CodecError(f"config network: lstm_layers is {self.lstm_layers}; it must be 0 or more")
        if self.n_filters % self.compress:
            raise CodecError(
                f"config network: compress {self.compress} does not divide n_filters {self.n_filters}"
            )
        if self.edges != "silence" and not self.causal:
            raise CodecError(f"config network: edges {self.edges} are of a causal network; leave them out")
        if self.causal and self.lstm_layers and self.bidirectional:
            raise CodecError(
                "config network: a bidirectional LSTM is not causal; "
                "set lstm_layers to 0, or bidirectional to false"
            )

    @property
    def hop_length(self) -> int:
        """Samples between frames: the product of the strides."""
        return math.prod(self.strides)
