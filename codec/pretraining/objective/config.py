"""Settings of masked prediction and classification. Schedules are shares of the run, whatever its length."""

from dataclasses import dataclass
from typing import Literal

from codec.errors import CodecError
from codec.pretraining.models.config import Shape, Size, check_shape

CenterOn = Literal["probs", "logits", "none"]

PREDICTORS: dict[Size, Shape] = {
    "micro": Shape(64, 2, 4),
    "tiny": Shape(128, 4, 4),
    "small": Shape(256, 8, 8),
    "base": Shape(512, 8, 16),
}
"""Of an encoder's size; the largest is the paper's."""


@dataclass(frozen=True)
class PredictorConfig:
    """The transformer that fills in what is masked; no part of the shipped encoder."""

    dim: int | None = None
    """Width; by the encoder's size."""
    depth: int | None = None
    """Blocks; by the encoder's size."""
    heads: int | None = None
    """Attention heads; by the encoder's size."""

    def shape(self, size: Size) -> Shape:
        """With what is not set as it is for encoders of this size."""
        usual = PREDICTORS[size]
        shape = Shape(self.dim or usual.dim, self.depth or usual.depth, self.heads or usual.heads)
        check_shape(shape, "predictor")
        return shape


@dataclass(frozen=True)
class HypothesesConfig:
    """Multiple choice learning (MATPAC++): several predictions of each token, of which the best is trained."""

    count: int = 1
    """1 is MATPAC; MATPAC++ has 5."""
    temperatures: tuple[float, ...] = (0.1, 1e-4)
    """Of the soft assignment, from first to last; it falls by the same factor at each step."""
    hard_at: float = 0.781
    """Share of the run from which on the winner takes all."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise CodecError(f"config hypotheses.count: expected at least 1, got {self.count}")
        if len(self.temperatures) != 2 or min(self.temperatures) <= 0 or not 0 <= self.hard_at <= 1:
            raise CodecError(
                "config hypotheses: temperatures must be two numbers above 0, first and last, and hard_at in [0, 1]"
            )


@dataclass(frozen=True)
class ClassesConfig:
    """The classification head, without labels: its teacher sorts tokens into classes of its own making."""

    count: int = 2048
    """Classes, K."""
    hidden: int = 2048
    """Units of its two hidden layers."""
    bottleneck: int = 256
    """Size of the unit vectors that are compared with the classes' directions."""
    student_temperature: float = 0.1
    teacher_temperatures: tuple[float, ...] = (0.04, 0.07)
    """Of the teacher, first and last."""
    temperature_share: float = 1 / 30
    """Share of the run over which the teacher's temperature rises; the paper's 10 of 300 epochs."""
    center_on: CenterOn = "probs"
    """What the running mean that is subtracted from the teacher's logits is a mean of: probs (as released),
    logits (DINO), or none."""
    center_momentum: float = 0.9

    def __post_init__(self) -> None:
        if min(self.count, self.hidden, self.bottleneck) < 2:
            raise CodecError("config classes: count, hidden and bottleneck must be at least 2")
        temperatures = (self.student_temperature, *self.teacher_temperatures)
        if len(temperatures) != 3 or min(temperatures) <= 0:
            raise CodecError("config classes: temperatures must be above 0, teacher_temperatures two of them")
        if not 0 <= self.center_momentum < 1 or not 0 <= self.temperature_share <= 1:
            raise CodecError("config classes: center_momentum must be in [0, 1) and temperature_share in [0, 1]")


@dataclass(frozen=True)
class TeacherConfig:
    """The teacher is a moving average of the student; its decays are those of a run of ``reference_steps``."""

    encoder_decay: tuple[float, ...] = (0.99995, 0.99999)
    """First and last; in a run of N steps, 1 - decay is reference_steps / N times as large."""
    head_decay: tuple[float, ...] = (0.998, 1.0)
    """The same of the classification head."""
    reference_steps: int = 294_816
    """Steps that the decays are meant for, the paper's 300 epochs; the length of the run for decays as they are."""
    least_decay: float = 0.9
    """A short run's decays are no lower."""

    def __post_init__(self) -> None:
        for name in ("encoder_decay", "head_decay"):
            decays = getattr(self, name)
            if len(decays) != 2 or not all(0 <= decay <= 1 for decay in decays):
                raise CodecError(f"config teacher.{name}: expected two numbers in [0, 1], got {decays}")
        if self.reference_steps < 1 or not 0 <= self.least_decay <= 1:
            raise CodecError("config teacher: reference_steps must be at least 1 and least_decay in [0, 1]")


@dataclass(frozen=True)
class WeightsConfig:
    """Weights of the two losses; 0 leaves one out."""

    prediction: float = 0.5
    classification: float = 0.5

    def __post_init__(self) -> None:
        if min(self.prediction, self.classification) < 0 or self.prediction + self.classification <= 0:
            raise CodecError("config weights: expected numbers of at least 0, not both 0")
