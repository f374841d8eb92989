"""What losses need to know of the model they train."""

from dataclasses import dataclass, field

from codec.teachers.features.calibrate import TargetStatistics


@dataclass(frozen=True)
class LossContext:
    """Facts of the model and data, fixed for a run."""

    sample_rate: int
    latent_dim: int
    num_codebooks: int
    teacher_dims: dict[str, int] = field(default_factory=dict)
    """Feature width of each teacher, by its name."""
    clip_teachers: frozenset[str] = frozenset()
    """Those that give one vector for a whole clip."""
    statistics: dict[str, TargetStatistics] = field(default_factory=dict)
    """Moments of the targets of each teacher that was calibrated."""
    name: str = ""
    """The loss's own, for its errors."""
