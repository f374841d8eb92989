"""What an encoder of patches is: its front, its size and what it sees at once."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from codec.errors import CodecError

Size = Literal["micro", "tiny", "small", "base"]


class Shape(NamedTuple):
    """Width, number of blocks and attention heads of a transformer."""

    dim: int
    depth: int
    heads: int


ENCODERS: dict[str, Shape] = {
    "micro": Shape(96, 4, 4),
    "tiny": Shape(192, 12, 3),
    "small": Shape(384, 12, 6),
    "base": Shape(768, 12, 12),
}


@dataclass(frozen=True)
class LogMelConfig:
    """Log-mel spectrogram: 25 ms windows every 10 ms, without padding; the defaults are MATPAC's and M2D's."""

    sample_rate: int = 16_000
    """Hz of the audio that the encoder hears."""
    n_fft: int = 400
    """Samples of a window."""
    hop_length: int = 160
    """Samples from window to window."""
    num_mels: int = 80
    fmin: float = 50.0
    """Hz, lower edge of the first band."""
    fmax: float | None = None
    """Hz, upper edge of the last band; half the sample rate by default."""
    mean: float = -7.056
    """Of the logarithms over a corpus; subtracted."""
    deviation: float = 4.193
    """Of the logarithms over a corpus; divided by."""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "num_mels", "deviation"):
            if getattr(self, name) <= 0:
                raise CodecError(f"config encoder.front.{name}: expected more than 0, got {getattr(self, name)}")

    def samples(self, frames: int) -> int:
        """Samples that so many frames of the spectrogram cover."""
        return self.n_fft + (frames - 1) * self.hop_length


@dataclass(frozen=True)
class PatchEncoderConfig:
    """A vision transformer on patches of a log-mel spectrogram."""

    size: Size = "base"
    """tiny (5.5 M weights), small (21 M), base (85 M), or micro (0.5 M) for trials."""
    dim: int | None = None
    """Width; by size."""
    depth: int | None = None
    """Blocks; by size."""
    heads: int | None = None
    """Attention heads; by size."""
    patch: int = 16
    """Bands and frames of a patch."""
    frames: int = 608
    """Frames of the spectrogram that are seen at once (6.1 s); longer audio is heard in pieces."""
    front: LogMelConfig = field(default_factory=LogMelConfig)

    def __post_init__(self) -> None:
        if self.patch < 1 or self.frames < self.patch or self.frames % self.patch:
            raise CodecError(f"config encoder.frames: expected a multiple of patch {self.patch}, got {self.frames}")
        if self.front.num_mels % self.patch:
            raise CodecError(
                f"config encoder.front.num_mels: expected a multiple of patch {self.patch}, got {self.front.num_mels}"
            )
        check_shape(self.shape, "encoder")

    @property
    def shape(self) -> Shape:
        """Of the transformer."""
        usual = ENCODERS[self.size]
        return Shape(self.dim or usual.dim, self.depth or usual.depth, self.heads or usual.heads)

    @property
    def grid(self) -> tuple[int, int]:
        """Patches over frequency and over time."""
        return self.front.num_mels // self.patch, self.frames // self.patch

    @property
    def window(self) -> int:
        """Samples that are seen at once."""
        return self.front.samples(self.frames)


def check_shape(shape: Shape, where: str) -> None:
    """Raise a :class:`CodecError` unless heads divide the width and both halves of a position have pairs."""
    if min(shape) < 1 or shape.dim % shape.heads or shape.dim % 4:
        raise CodecError(
            f"config {where}: dim {shape.dim} must be a multiple of 4 and of heads {shape.heads}, depth at least 1"
        )
