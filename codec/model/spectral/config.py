"""Settings of the ``spectral`` architecture."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar, Literal

from codec.errors import CodecError


@dataclass(frozen=True)
class SpectralConfig:
    """Sizes of the causal spectral encoder and decoder.

    Latency: a frame needs its hop of samples, and overlap-add finishes a hop when the next
    frame is known, so it is ``window_length`` samples in all (40 ms by default), and a hop more
    for each frame of ``look_ahead``.
    """

    decoder_settings: ClassVar = (
        *("gain_bands", "decoder_dim", "decoder_layers"),
        *("noise_bands", "noise_from", "noise_fade", "noise_draw"),
        *("phase_from", "phase_fade", "contrast", "comb"),
    )

    hop_length: int = 320
    """Samples between frames."""
    window_length: int = 640
    """Samples of the STFT window: twice the hop."""
    compression: float = 0.3
    """Power applied to STFT magnitudes in one of the encoder's two views of a frame."""
    level_bands: int = 0
    """Bands whose levels the encoder is given beside the spectrum, whose phases hide them; 0: none."""
    gain_bands: int = 24
    """Bands, narrow at low and wide at high frequencies, whose loudness the decoder sets apart."""
    latent_dim: int = 64
    """Width of the quantized latent, and so of the codebooks."""
    kernel_size: int = 7
    """Frames seen by each block's depthwise convolution: this one and the ones before."""
    encoder_dim: int = 256
    encoder_layers: int = 6
    semantic_layers: int = 0
    """Blocks of the encoder that lead to a part of the latent of their own, for what is said; 0: there is none."""
    semantic_from: int = 3
    """Blocks of the encoder that these follow."""
    semantic_dim: int = 64
    """Width of that part, the last of the latent."""
    decoder_dim: int = 384
    decoder_layers: int = 8
    expansion: int = 3
    """Hidden width of a block's two linear layers, as a multiple of its width."""
    noise_bands: int = 0
    """Bands of the decoder's drawn noise; 0: no noise, every phase is the network's."""
    noise_from: float = 0.375
    """Frequency above which noise takes over, as a part of half the sample rate (0.375 is 3 kHz at 16 kHz)."""
    noise_fade: float = 1.0
    """Octaves around ``noise_from`` in which it takes over."""
    noise_draw: Literal["phase", "gaussian"] = "phase"
    """What is random: phases alone, or magnitudes too, as in Gaussian noise, which does not pulse."""
    phase_from: float = 0.0
    """Frequency above which the spectrum's own phases are drawn, as a part of half the sample rate; 0: nowhere."""
    phase_fade: float = 0.25
    """Octaves around ``phase_from`` in which they are."""
    contrast: float = 0.0
    """How far peaks of a decoded spectrum are raised over their surroundings; 0: not at all. Not in training."""

    comb: float = 0.0
    """Depth of the comb of the pitch on the noise of voiced frames, such as 5; 0: none. Not in training."""
    look_ahead: int = 0
    """Frames after a frame that the encoder waits for, before it says what the frame holds."""

    def __post_init__(self) -> None:
        self._check_sizes()
        semantic = self.semantic_layers > 0
        if semantic and not 0 < self.semantic_dim < self.latent_dim:
            raise CodecError(
                f"config network: semantic_dim {self.semantic_dim} must lie between 0 and latent_dim {self.latent_dim}"
            )
        if self.semantic_layers < 0 or (semantic and not 0 <= self.semantic_from <= self.encoder_layers):
            raise CodecError(
                f"config network: semantic_layers {self.semantic_layers} must be 0 or more, and semantic_from "
                f"{self.semantic_from} at most encoder_layers {self.encoder_layers}"
            )
        if not 0 <= self.look_ahead <= self.most_look_ahead:
            raise CodecError(
                f"config network: look_ahead {self.look_ahead} must be 0 to {self.most_look_ahead}, the blocks of the "
                "encoder, or those after semantic_from and of its semantic part"
            )
        if self.level_bands and not 2 <= self.level_bands <= self.num_bins // 4:
            raise CodecError(
                f"config network: level_bands {self.level_bands} must be 0, or 2 to {self.num_bins // 4}, a quarter of "
                "the frequencies"
            )
        if self.gain_bands < 2:
            raise CodecError(f"config network: gain_bands {self.gain_bands} must be 2 or more")
        if self.noise_bands == 1 or self.noise_bands < 0:
            raise CodecError(f"config network: noise_bands {self.noise_bands} must be 0, or 2 or more")
        if not 0.0 < self.noise_from < 1.0:
            raise CodecError(f"config network: noise_from {self.noise_from} must lie between 0 and 1")
        if not 0.0 < self.noise_fade <= 4.0:
            raise CodecError(f"config network: noise_fade {self.noise_fade} must lie above 0, at most 4 octaves")
        if not 0.0 <= self.phase_from < 1.0:
            raise CodecError(f"config network: phase_from {self.phase_from} must lie between 0 and 1, or be 0")
        if not 0.0 < self.phase_fade <= 4.0:
            raise CodecError(f"config network: phase_fade {self.phase_fade} must lie above 0, at most 4 octaves")
        if not 0.0 <= self.contrast <= 1.0:
            raise CodecError(f"config network: contrast {self.contrast} must lie between 0 and 1")
        if not 0.0 <= self.comb <= 10.0:
            raise CodecError(f"config network: comb {self.comb} must lie between 0 and 10")
        if self.comb and not self.noise_bands:
            raise CodecError(f"config network: comb {self.comb} shapes noise; set noise_bands, too")
        if self.noise_bands and self.hop_length % 4:
            raise CodecError(f"config network: with noise, hop_length {self.hop_length} must be a multiple of 4")
        if self.window_length != 2 * self.hop_length:
            raise CodecError(
                f"config network: window_length {self.window_length} must be twice "
                f"hop_length {self.hop_length}"
            )

    def _check_sizes(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            # Files and YAML are checked as they are read.
            if field.type is int and type(value) is not int:
                raise CodecError(f"config network: {field.name} is {value!r}; it must be a whole number")
        sizes = ("hop_length", "kernel_size", "latent_dim", "expansion")
        for name in (*sizes, "encoder_dim", "encoder_layers", "decoder_dim", "decoder_layers"):
            if getattr(self, name) < 1:
                raise CodecError(f"config network: {name} is {getattr(self, name)}; it must be 1 or more")

    @property
    def acoustic_dim(self) -> int:
        """Width of the latent's first part, or of all of it."""
        return self.latent_dim - (self.semantic_dim if self.semantic_layers else 0)

    @property
    def most_look_ahead(self) -> int:
        """Blocks of the encoder that can wait for a frame each: the last ones, on both ways to the latent."""
        blocks = self.encoder_layers
        if self.semantic_layers:
            blocks = min(blocks - self.semantic_from, self.semantic_layers)
        return blocks if self.kernel_size > 1 else 0

    @property
    def num_bins(self) -> int:
        """Frequencies of the one-sided STFT."""
        return self.window_length // 2 + 1
