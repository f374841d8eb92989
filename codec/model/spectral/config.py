"""Settings of the ``spectral`` architecture."""

from dataclasses import dataclass
from typing import ClassVar

from codec.errors import CodecError


@dataclass(frozen=True)
class SpectralConfig:
    """Sizes of the causal spectral encoder and decoder.

    Latency: a frame needs its hop of samples, and overlap-add finishes a hop when the next
    frame is known, so it is ``window_length`` samples in all (40 ms by default).
    """

    decoder_settings: ClassVar = ("gain_bands", "decoder_dim", "decoder_layers")

    hop_length: int = 320
    """Samples between frames."""
    window_length: int = 640
    """Samples of the STFT window: twice the hop."""
    compression: float = 0.3
    """Power applied to STFT magnitudes in one of the encoder's two views of a frame."""
    gain_bands: int = 24
    """Bands, narrow at low and wide at high frequencies, whose loudness the decoder sets apart."""
    latent_dim: int = 64
    """Width of the quantized latent, and so of the codebooks."""
    kernel_size: int = 7
    """Frames seen by each block's depthwise convolution: this one and the ones before."""
    encoder_dim: int = 256
    encoder_layers: int = 6
    decoder_dim: int = 384
    decoder_layers: int = 8
    expansion: int = 3
    """Hidden width of a block's two linear layers, as a multiple of its width."""

    def __post_init__(self) -> None:
        if self.gain_bands < 2:
            raise CodecError(f"config network: gain_bands {self.gain_bands} must be 2 or more")
        if self.window_length != 2 * self.hop_length:
            raise CodecError(
                f"config network: window_length {self.window_length} must be twice "
                f"hop_length {self.hop_length}"
            )

    @property
    def num_bins(self) -> int:
        """Frequencies of the one-sided STFT."""
        return self.window_length // 2 + 1
