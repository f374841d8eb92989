"""What a student is: its front, its trunk and its size, as they stand in ``config.json``."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from codec.config import from_dict, to_dict
from codec.errors import CodecError

Size = Literal["small", "medium", "large"]


@dataclass(frozen=True)
class FrontConfig:
    """Log-mel spectrogram: 32 ms windows every 16 ms at the defaults."""

    sample_rate: int = 16_000
    """Hz of the audio that the student hears."""
    n_fft: int = 512
    """Samples of a window."""
    hop_length: int = 256
    """Samples from window to window."""
    num_mels: int = 64
    fmin: float = 50.0
    """Hz, lower edge of the first band."""
    fmax: float | None = None
    """Hz, upper edge of the last band; half the sample rate by default."""
    floor: float = 1e-3
    """Added to magnitudes before the logarithm, so that silence differs little from faint noise."""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "num_mels", "floor"):
            if getattr(self, name) <= 0:
                raise CodecError(f"config student.front.{name}: expected more than 0, got {getattr(self, name)}")
        if self.hop_length > self.n_fft or (self.n_fft - self.hop_length) % 2:
            raise CodecError(
                f"config student.front.hop_length: {self.hop_length} must be at most n_fft {self.n_fft} and "
                "differ from it by an even number"
            )


@dataclass(frozen=True)
class StudentConfig:
    """A student encoder."""

    architecture: str = "mobilenet"
    """mobilenet, dynamic (mobilenet with mixed kernels) or res2net."""
    size: Size = "medium"
    seconds: float = 4.0
    """What it hears at once. Shorter clips are repeated, longer ones heard in pieces and averaged."""
    front: FrontConfig = field(default_factory=FrontConfig)

    def __post_init__(self) -> None:
        if self.window < 64 * self.front.hop_length:
            raise CodecError(
                f"config student.seconds: {self.seconds} s are fewer than the 64 frames of the mel spectrogram "
                "that a trunk needs"
            )

    @property
    def window(self) -> int:
        """Samples that the student hears at once, a whole number of hops."""
        hop = self.front.hop_length
        return round(self.seconds * self.front.sample_rate / hop) * hop


def student_to_json(config: StudentConfig) -> str:
    """The content of ``config.json``; ``kind`` tells it from a codec's."""
    return json.dumps({"kind": "student", **to_dict(config)}, indent=2) + "\n"


def read_student_config(path: Path) -> StudentConfig:
    """The config of a student's folder.

    Raises:
        CodecError: for a file that is missing, no JSON, or not of a student.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CodecError(f"{path}: no such file; a student is config.json + model.safetensors") from None
    except (OSError, ValueError) as error:
        raise CodecError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(values, dict) or values.pop("kind", None) != "student":
        raise CodecError(f"{path}: not of a student (kind: student is missing); codec distill writes such folders")
    return from_dict(StudentConfig, values, "student")
