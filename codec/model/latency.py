"""How long a signal takes through the model, computing time excluded."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Latency:
    """Algorithmic delay of a sample, from its arrival to what is made of it."""

    samples: int
    milliseconds: float


def latency_of(samples: int, sample_rate: int) -> Latency:
    """``samples`` at ``sample_rate`` Hz."""
    return Latency(samples, 1000.0 * samples / sample_rate)
