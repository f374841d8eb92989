"""Learning rate as a function of the step: no state to save, nothing to drift on resume."""

import math
from dataclasses import dataclass

from codec.errors import CodecError


@dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up, then a cosine down to a floor at the last step."""

    warmup_steps: int = 500
    floor: float = 0.05
    """Share of the peak rate that is left at the end; it stays there if training goes on."""

    def __post_init__(self) -> None:
        if self.warmup_steps < 0 or not 0 <= self.floor <= 1:
            raise CodecError("config schedule: warmup_steps must be >= 0 and floor in [0, 1]")


def learning_rate_scale(config: ScheduleConfig, step: int, max_steps: int) -> float:
    """Factor on the peak learning rate in step ``step`` (from 0) of ``max_steps``."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, max_steps - config.warmup_steps))
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress))
