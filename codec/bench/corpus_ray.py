"""Scheduling of many actors of Ray: files are read and tables written, but the encoder sleeps."""

import functools
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import torch
from torch import Tensor

from codec.bench.corpus import tokenize_config, write_corpus
from codec.bench.registry import benchmark
from codec.bench.types import BenchConfig, Table
from codec.corpora.encode import BatchConfig
from codec.corpora.plan import Facts, open_plan, read_plan
from codec.corpora.remote import folder_at
from codec.corpora.run import facts_of
from codec.corpora.shard import ShardReport, ShardTask, load, run_shard
from codec.errors import CodecError
from codec.jobs.executor import Lost
from codec.model.codec import Codec
from codec.tokens.tokens import Tokens

SPEED = 200.0
"""Times real time: what the encoder pretends, as one thread of a CPU has it."""
SHARDS = 6
"""Of each actor."""
_SHARD_CLIPS = 50
_START_SECONDS = 300.0


class SleepingCodec:
    """Takes the time of an encoder without using a core; all codes are 0."""

    def __init__(self, facts: Facts):
        self.fingerprint, self.sample_rate, self.causal = facts.fingerprint, facts.sample_rate, True
        self.device = torch.device("cpu")
        self._facts = facts

    def encode(self, wavs: Sequence[Tensor], num_codebooks: int, deterministic: bool) -> Tokens:
        """Tokens of the right shape, after a while."""
        samples = torch.tensor([len(wav) for wav in wavs])
        time.sleep(float(samples.sum()) / self.sample_rate / SPEED)
        facts, lengths = self._facts, -(-samples // self._facts.hop_length)
        codes = torch.zeros(len(wavs), num_codebooks, int(lengths.max()), dtype=torch.int64)
        return Tokens(
            codes, lengths, samples, facts.sample_rate, facts.fingerprint, facts.hop_length, facts.codebook_sizes
        )


@dataclass(frozen=True)
class SleepingTask:
    """A shard, and the folder in which ``actors`` say that they are there."""

    shard: ShardTask
    present: str
    actors: int


def sleeping_shard(task: SleepingTask) -> ShardReport:
    """Make a shard with :class:`SleepingCodec`; the first of each actor waits until all have started."""
    _meet(task.present, task.actors)
    facts = read_plan(folder_at(task.shard.folder)).facts
    return run_shard(task.shard, cast(Codec, SleepingCodec(facts)))


@functools.cache
def _meet(present: str, actors: int) -> None:
    (Path(present) / str(os.getpid())).touch()
    end = time.monotonic() + _START_SECONDS
    while len(os.listdir(present)) < actors:
        if time.monotonic() > end:
            raise CodecError(f"bench: {actors} actors did not start within {_START_SECONDS:g} s")
        time.sleep(0.01)


@benchmark("corpus-ray")
def corpus_ray(config: BenchConfig) -> Table:
    """Hours an hour by the number of actors, once all have started: does handing out shards keep up?

    Raises:
        CodecError: without the package ray.
    """
    try:
        import ray
    except ImportError:
        raise CodecError("the benchmark corpus-ray needs the package ray; pip install 'codec[ray]'") from None
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    # More CPUs than there are: sleeping takes none.
    ray.init(num_cpus=max(config.actors), **options)
    rows: list[tuple[str | float, ...]] = []
    try:
        for actors in config.actors:
            with TemporaryDirectory(prefix="codec-bench-") as folder:
                speed = _speed(config, Path(folder), actors)
            ideal = SPEED * actors
            rows.append((actors, SHARDS * actors, speed, speed / float(rows[0][2]) if rows else 1.0, speed / ideal))
    finally:
        ray.shutdown()
    columns = ("actors", "shards", "h/h", "growth", "of the ideal")
    return Table(f"an encoder that sleeps, {SPEED:g} x real time an actor", columns, tuple(rows))


def _speed(config: BenchConfig, folder: Path, actors: int) -> float:
    from codec.jobs.ray import RayExecutor

    write_corpus(folder / "clips", "flac", SHARDS * actors * _SHARD_CLIPS)
    settings = replace(tokenize_config(config, folder / "clips", _SHARD_CLIPS, actors), backend="torch")
    facts = facts_of(load(config.model, "cpu", settings.backend), settings)
    plan = open_plan(folder / "out", settings.source, settings.sizes, facts)
    present = folder / "present"
    present.mkdir()
    tasks = [
        SleepingTask(
            ShardTask(str(folder / "out"), shard, config.model, "cpu", BatchConfig(), 0.0), str(present), actors
        )
        for shard in range(len(plan.shards))
    ]
    seconds = 0.0

    def done(_: int, result: ShardReport | Lost) -> None:
        nonlocal seconds
        seconds += math.nan if isinstance(result, Lost) else result.seconds

    RayExecutor(actors).run(sleeping_shard, tasks, done)
    begun = max(path.stat().st_mtime for path in present.iterdir())
    return seconds / (time.time() - begun)
