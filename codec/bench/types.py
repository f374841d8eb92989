"""The settings of a benchmark, and its results."""

from dataclasses import dataclass

from codec.errors import CodecError


@dataclass(frozen=True)
class BenchConfig:
    """Settings of a run; those of another benchmark are ignored."""

    model: str = "default"
    """A shipped model's name, or a folder with config.json."""
    engine: str = "auto"
    """auto, torch, compile, graph, onnx, or a folder of codec export --onnx."""
    device: str = "cpu"
    """auto, cpu, cuda or mps."""
    baselines: tuple[str, ...] = ("encodec", "mimi", "dac", "dm-codec")
    """Comma-separated: encodec, mimi, dac, dm-codec; '' for none."""
    threads: int = 1
    """Threads of the computation, on the CPU."""
    seconds: float = 10.0
    """Seconds of the clip that goes through at once."""
    repeats: int = 3
    """Rounds in which every system has its turn."""
    clip_seconds: tuple[float, ...] = (1.0, 10.0)
    """Seconds of the clips of the benchmark clips, comma-separated."""
    against: str | None = None
    """A checkout of another version, which has its turns between ours in the benchmark clips."""
    minutes: float = 10.0
    """Minutes of audio in the stream of one signal."""
    clients: int = 16
    """Live signals at a time."""
    live_seconds: float = 30.0
    """Seconds for which they are served, by the clock."""
    batch_seconds: tuple[float, ...] = (60.0, 600.0)
    """Seconds of audio in a batch, in clips of --seconds; comma-separated."""
    slots: tuple[int, ...] = (1, 16, 256)
    """Signals in lockstep, comma-separated."""
    frames: int = 300
    """Steps of such signals."""
    clips: int = 72
    """Variants of the bundled clip whose codes are compared, each with 1400 to 1800 of them."""

    corpus_hours: float = 1.0
    """Hours of audio in the corpora of the benchmark corpus."""
    workers: tuple[int, ...] = (1, 2)
    """Processes that tokenize them, comma-separated."""
    actors: tuple[int, ...] = (1, 2, 4, 8)
    """Actors of Ray in the benchmark corpus-ray, comma-separated."""
    files: tuple[int, ...] = (1000, 10_000)
    """Files in the corpora of the benchmark corpus-memory, comma-separated."""

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
            "corpus_hours",
        ):
            if getattr(self, name) <= 0:
                raise CodecError(f"bench: {name} is {getattr(self, name)}; it must be above 0")
        if not self.clip_seconds or min(self.clip_seconds) <= 0:
            raise CodecError(f"bench: clip_seconds is {list(self.clip_seconds)}; name lengths above 0")
        for name in ("workers", "actors", "files"):
            if min(getattr(self, name), default=0) < 1:
                raise CodecError(f"bench: {name} is {list(getattr(self, name))}; name numbers of 1 or more")


Rows = tuple[tuple[str | float, ...], ...]


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
    rows: Rows
