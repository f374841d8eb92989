"""Corpora from files to tokens: the speed of whole runs of ``codec tokenize``, and their memory."""

import multiprocessing
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import soundfile
from torch import Tensor

from codec.bench.agreement import bundled_clip, variants
from codec.bench.registry import benchmark
from codec.bench.types import BenchConfig, Table
from codec.corpora.plan import Sizes
from codec.corpora.run import TokenizeConfig, tokenize
from codec.corpora.sources import SourceConfig
from codec.errors import CodecError

RATE = 16_000
"""Hz of the files, which is the default model's: nothing is resampled."""
MEAN_SECONDS = 12.5
_DISTINCT = 24
"""Different clips; a corpus has each of them under many names."""
_SHARDS = 16
"""Of a corpus, so that processes end at about the same time."""
_SHORT_SECONDS = 0.3


@dataclass(frozen=True)
class Run:
    """A run of ``codec tokenize``.

    Attributes:
        hours: of audio.
        seconds: by the clock, from the start of its process to the end of the last.
        cpu_seconds: of all its processes.
        peak_megabytes: of the largest process.
    """

    hours: float
    seconds: float
    cpu_seconds: float
    peak_megabytes: float


@benchmark("corpus")
def corpus(config: BenchConfig) -> Table:
    """Whole runs on files of FLAC and MP3, start-up included, by the number of processes."""
    rows: list[tuple[str | float, ...]] = []
    with TemporaryDirectory(prefix="codec-bench-") as folder:
        for suffix in ("flac", "mp3"):
            source = Path(folder) / suffix
            count = max(1, round(config.corpus_hours * 3600 / MEAN_SECONDS))
            write_corpus(source, suffix, count)
            first = 0.0
            for workers in config.workers:
                settings = tokenize_config(config, source, -(-count // _SHARDS), workers)
                run = measured(settings, Path(folder) / f"{suffix}-{workers}")
                speed = run.hours / run.seconds * 3600
                first = first or speed
                per_core = run.hours / run.cpu_seconds * 3600
                rows.append((suffix, workers, run.hours, run.seconds, speed, speed / first, per_core))
    columns = ("files", "workers", "audio (h)", "time (s)", "h/h", "growth", "h per core-hour")
    return Table(f"codec tokenize on {os.cpu_count()} cores, start-up included", columns, tuple(rows))


@benchmark("corpus-memory")
def corpus_memory(config: BenchConfig) -> Table:
    """Peak memory of one process by the number of files, which are short: 0.3 s each, 1000 a shard."""
    rows: list[tuple[str | float, ...]] = []
    with TemporaryDirectory(prefix="codec-bench-") as folder:
        for count in config.files:
            source = Path(folder) / str(count)
            _link([bundled_clip(RATE)[: round(_SHORT_SECONDS * RATE)]], source, "flac", count)
            run = measured(tokenize_config(config, source, 1000, 1), Path(folder) / f"out-{count}")
            base = float(rows[0][2]) if rows else run.peak_megabytes
            rows.append((count, run.seconds, run.peak_megabytes, run.peak_megabytes / base))
    return Table("codec tokenize, one process", ("files", "time (s)", "peak memory (MB)", "ratio"), tuple(rows))


def write_corpus(folder: Path, suffix: str, count: int) -> None:
    """Files of speech, 5 to 20 s, :data:`MEAN_SECONDS` on average."""
    _link(list(_clips(bundled_clip(RATE))), folder, suffix, count)


def _clips(speech: Tensor) -> Iterator[Tensor]:
    for number, clip in enumerate(variants(speech, _DISTINCT)):
        size = round((5 + 15 * number / (_DISTINCT - 1)) * RATE)
        yield clip.repeat(-(-size // len(clip)))[:size]


def _link(clips: list[Tensor], folder: Path, suffix: str, count: int) -> None:
    """The clips under many names, in folders of 1000."""
    (folder.parent / f"{folder.name}.clips").mkdir(parents=True)
    paths = []
    for number, clip in enumerate(clips[:count]):
        paths.append(folder.parent / f"{folder.name}.clips" / f"{number}.{suffix}")
        soundfile.write(paths[-1], clip.clamp(-1, 1).numpy(), RATE)
    for number in range(count):
        target = folder / f"{number // 1000:03d}" / f"{number:06d}.{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(paths[number % len(paths)], target)


def tokenize_config(config: BenchConfig, source: Path, shard_clips: int, workers: int) -> TokenizeConfig:
    """Settings as those of ``codec tokenize``."""
    return TokenizeConfig(
        model=config.model,
        device=config.device,
        backend=config.engine,
        source=SourceConfig(str(source), kind="folder"),
        sizes=Sizes(shard_clips=shard_clips),
        workers=workers,
        threads=config.threads,
    )


def measured(config: TokenizeConfig, folder: Path) -> Run:
    """A run in a process of its own, as a command is.

    Raises:
        CodecError: when it fails.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(config, folder, sender))
    begun = time.perf_counter()
    process.start()
    sender.close()
    try:
        result = receiver.recv()
    except EOFError:
        result = "its process died"
    process.join()
    if isinstance(result, str):
        raise CodecError(f"bench: the run of codec tokenize failed: {result}")
    return Run(result[0], time.perf_counter() - begun, *result[1:])


def _run(config: TokenizeConfig, folder: Path, sender: Connection) -> None:
    import resource  # which Windows has not

    try:
        reports = tokenize(config, folder)
    except CodecError as error:
        sender.send(str(error))
        return
    hours = sum(report.seconds for report in reports) / 3600
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in usages)
    # KiB on Linux, bytes on macOS.
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    sender.send((hours, cpu, max(usage.ru_maxrss for usage in usages) / unit))
