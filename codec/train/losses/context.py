"""Facts about the model that losses need."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class LossContext:
    """Facts of the model and data, fixed for a run."""

    sample_rate: int
    latent_dim: int
    num_codebooks: int
    teacher_dims: dict[str, int] = field(default_factory=dict)
    """Feature width of each teacher, by its name."""
    clip_teachers: frozenset[str] = frozenset()
    """Teachers that give one vector for a whole clip."""
    name: str = ""
    """The loss's own, for its errors."""
