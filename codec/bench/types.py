"""What benchmarks are told, and what they give back."""

from dataclasses import dataclass

from codec.errors import CodecError


@dataclass(frozen=True)
class BenchConfig:
    """Settings of a run; those of another benchmark are ignored."""

    model: str = "default"
    engine: str = "auto"
    device: str = "cpu"
    threads: int = 1
    peers: tuple[str, ...] = ("encodec", "mimi", "dac", "dm-codec")
    seconds: float = 10.0
    """Of the clip that goes through at once."""
    repeats: int = 3
    """Of every system, in turn."""
    minutes: float = 10.0
    """Of sound in the stream of one signal."""
    clients: int = 16
    """Live signals at a time."""
    live_seconds: float = 30.0
    """How long they are served, by the clock."""
    batch_seconds: tuple[float, ...] = (60.0, 600.0)
    """Sound of a batch, in clips of ``seconds``."""
    slots: tuple[int, ...] = (1, 16, 256)
    """Signals of a stream, each in lockstep."""
    frames: int = 300
    """Steps of such a stream."""
    clips: int = 72
    """Variants of the bundled clip whose codes are compared, each with 1400 to 1800."""

    def __post_init__(self) -> None:
        for name in (
            "threads",
            "seconds",
            "repeats",
            "minutes",
            "clients",
            "live_seconds",
            "frames",
            "clips",
        ):
            if getattr(self, name) <= 0:
                raise CodecError(f"bench: {name} is {getattr(self, name)}; it must be above 0")


@dataclass(frozen=True)
class Table:
    """A benchmark's result.

    Attributes:
        title: what was measured.
        columns: names, with units.
        rows: a value for each column; numbers or text.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]
