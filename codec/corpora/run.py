"""Tokenizing a corpus: the plan, this process's part of it, and an engine that makes its shards."""

import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import torch

from codec.config import to_dict
from codec.console import counted, print_note
from codec.corpora.durable import durable_file
from codec.corpora.encode import BatchConfig
from codec.corpora.places import absolute
from codec.corpora.plan import PLAN, Facts, Plan, Sizes, open_plan, read_plan, to_json
from codec.corpora.remote import Folder, folder_at
from codec.corpora.shard import ShardReport, ShardTask, find_reports, load, run_shard
from codec.corpora.sources import SourceConfig
from codec.errors import CodecError
from codec.hub.download import is_hub_id
from codec.jobs.executor import Executor, LocalExecutor, Lost
from codec.model.codec import Codec
from codec.progress import ProgressBar
from codec.version import __version__

SUMMARY = "corpus.json"

_RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """Settings of ``codec tokenize``."""

    model: str = "default"
    """A shipped model's name, or a folder with config.json."""
    device: str = "auto"
    """auto, cpu, cuda or mps; with several processes on a machine, each takes the GPU of its local rank."""
    backend: str = "auto"
    """What computes: torch, compile, graph, onnx, a folder of codec export --onnx, or auto: what the plan says, and for
    a new one onnx on a CPU that has ONNX Runtime, else torch."""
    codebooks: int | None = None
    """Codebook layers to keep, 1 to all."""
    deterministic: bool = False
    """Compute in blocks of one shape: equal to the last bit for every architecture (docs/streaming.md)."""
    source: SourceConfig = field(default_factory=SourceConfig)
    sizes: Sizes = field(default_factory=Sizes)
    batching: BatchConfig = field(default_factory=BatchConfig)
    max_error_rate: float = 0.5
    """Share of bad files in a shard that ends the run, so that a broken mount does not make an empty corpus."""
    engine: Literal["local", "ray"] = "local"
    """What runs the shards: processes of this machine, or Ray (extra: ray)."""
    workers: int | None = None
    """Processes, or actors of Ray; by default one for each core; on a GPU, and in each of several ranks, one."""
    threads: int = 1
    """Threads of PyTorch in each."""
    address: str | None = None
    """Of a Ray cluster, such as ray://head:10001; by default the one that this machine is part of, else a new one."""
    gpus: float = 0.0
    """GPUs of each actor of Ray, such as 0.25."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_error_rate <= 1:
            raise CodecError(f"max_error_rate must lie in 0..1, got {self.max_error_rate:g}")
        if self.threads < 1 or (self.workers is not None and self.workers < 1):
            raise CodecError("workers and threads must be 1 or more")


def tokenize(config: TokenizeConfig, folder: str | Folder, ranks: tuple[int, int] | None = None) -> list[ShardReport]:
    """Make, or go on making, the corpus in ``folder``.

    Args:
        folder: on a disk, or a URL of fsspec.
        ranks: number of this process and how many there are; by default as the environment has it.

    Returns:
        reports of this process's shards.

    Raises:
        CodecError: as :func:`codec.corpora.plan.open_plan` and :func:`codec.corpora.shard.run_shard`, or when worker
            processes died.
    """
    if not config.source.source or not str(folder):
        raise CodecError("the source or the output is an empty name; name a folder (. is the current one)")
    if config.source.root == "":
        raise CodecError("the root is an empty name; name a folder (. is the current one)")
    folder = folder_at(folder)
    rank, world = ranks or rank_of(os.environ)
    device = device_of(config.device, os.environ)
    root = config.source.root
    source = replace(config.source, source=absolute(config.source.source), root=root and absolute(root))
    config = replace(config, backend=backend_of(config, device, folder))
    plan = open_plan(folder, source, config.sizes, facts_of(load(config.model, device, config.backend), config))
    tasks = [
        ShardTask(str(folder.resolve()), shard, model_of(config.model), device, config.batching, config.max_error_rate)
        for shard in range(rank, len(plan.shards), world)
    ]
    reports = run_tasks(config, plan, tasks, alone=world == 1)
    summarize(folder, plan)
    return reports


def model_of(name: str) -> str:
    """A model's name or hub id, or the path of its folder from the root on: workers may run in other folders."""
    path = os.path.abspath(os.path.expanduser(name))
    return path if os.sep in name and not (is_hub_id(name) and not os.path.exists(path)) else name


def backend_of(config: TokenizeConfig, device: str, folder: Folder) -> str:
    """What computes, by name; every machine of every run has to take the same.

    Raises:
        CodecError: when the plan cannot be read, or the model cannot be loaded.
    """
    if config.backend != "auto":
        return config.backend
    if (folder / PLAN).is_file():
        return read_plan(folder).facts.backend
    if config.gpus:
        return "torch"
    name = load(config.model, device, "auto").engine.name
    return name if name == "onnx" else "torch"


def facts_of(model: Codec, config: TokenizeConfig) -> Facts:
    """What the shards share.

    Raises:
        CodecError: when the model has no such number of codebooks.
    """
    count = model.quantizer.check_count(config.codebooks)
    return Facts(
        fingerprint=model.fingerprint,
        sample_rate=model.sample_rate,
        hop_length=model.hop_length,
        codebook_sizes=tuple(model.quantizer.sizes[:count]),
        codec_version=__version__,
        model=to_dict(model.config),
        deterministic=config.deterministic,
        backend=config.backend,
    )


def run_tasks(config: TokenizeConfig, plan: Plan, tasks: list[ShardTask], alone: bool) -> list[ShardReport]:
    """Make the shards that are not done; ``alone``: no other ranks share the machine."""
    folder = folder_at(tasks[0].folder if tasks else "")
    found = find_reports(folder, plan, [task.shard for task in tasks])
    reports = {shard: report for shard, report in found.items() if report is not None}
    left = [task for task in tasks if task.shard not in reports]
    lost: list[str] = []
    started, hours = time.monotonic(), 0.0
    with ProgressBar("shards", len(tasks), done=len(reports)) as bar:

        def done(index: int, result: ShardReport | Lost) -> None:
            nonlocal hours
            if isinstance(result, Lost):
                lost.append(f"shard {left[index].shard} {result.reason}")
            else:
                reports[result.shard] = result
                hours += result.seconds / 3600
            speed = hours / max(time.monotonic() - started, 1e-9) * 3600
            bar.advance(1, f"{hours:.2f} h of audio, {speed:.0f} hours an hour")

        if left:
            executor_of(config, left, alone).run(run_shard, left, done)
    if lost:
        raise CodecError(f"{counted(len(lost), 'shard')} not done: {lost[0]}; run the same command again")
    print_note(f"{counted(len(left), 'shard')} made, {len(tasks) - len(left)} done before; {hours:.2f} h of audio")
    return [reports[task.shard] for task in tasks]


def executor_of(config: TokenizeConfig, tasks: list[ShardTask], alone: bool) -> Executor:
    """The engine's executor for these shards."""
    if config.engine == "ray":
        from codec.jobs.ray import RayExecutor

        return RayExecutor(config.workers, config.threads, config.gpus, config.address)
    default = cpu_workers(config.threads) if alone and not tasks[0].device.startswith("cuda") else 1
    workers = min(len(tasks), config.workers or default)
    if workers == 1:
        torch.set_num_threads(config.threads)
    return LocalExecutor(workers if workers > 1 else 0, threads=config.threads)


def cpu_workers(threads: int) -> int:
    """Processes that the cores of this process can take."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // threads)


def rank_of(environment: Mapping[str, str]) -> tuple[int, int]:
    """This process's number, and how many there are: of torchrun, Slurm's array, or Slurm's tasks.

    Raises:
        CodecError: for numbers that do not fit.
    """
    if "SLURM_ARRAY_TASK_ID" in environment and "RANK" not in environment:
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
        rank = (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // step
        world = int(environment["SLURM_ARRAY_TASK_COUNT"])
    else:
        names = next((pair for pair in _RANKS if all(name in environment for name in pair)), None)
        rank, world = (int(environment[name]) for name in names) if names else (0, 1)
    if not 0 <= rank < world:
        raise CodecError(f"rank {rank} of {world} processes; the environment variables of ranks do not fit")
    return rank, world


def device_of(device: str, environment: Mapping[str, str]) -> str:
    """The device of this process; of several on a machine, each has the GPU of its local rank."""
    if device == "auto" and torch.cuda.is_available():
        device = "cuda"
    local = environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID"))
    if device != "cuda" or local is None:
        return device
    return f"cuda:{int(local) % max(torch.cuda.device_count(), 1)}"


def summarize(folder: Folder, plan: Plan) -> None:
    """Write the sums, once all shards of all processes are done."""
    if sum(path.name.endswith(".json") for path in (folder / "shards").iterdir()) < len(plan.shards):
        return
    found = find_reports(folder, plan, range(len(plan.shards)))
    reports = [report for report in found.values() if report is not None]
    if len(reports) < len(plan.shards):
        return
    stages = sorted({stage for report in reports for stage in report.errors})
    with durable_file(folder / SUMMARY) as file:
        file.write(
            to_json(
                {
                    "shards": len(reports),
                    "utterances": sum(report.utterances for report in reports),
                    "hours": sum(report.seconds for report in reports) / 3600,
                    "frames": sum(report.frames for report in reports),
                    "bytes": sum(report.bytes for report in reports),
                    "errors": {stage: sum(report.errors.get(stage, 0) for report in reports) for stage in stages},
                    **asdict(plan.facts),
                }
            )
        )
    bad = sum(report.bad for report in reports)
    if bad:
        print_note(f"note: {counted(bad, 'utterance')} could not be encoded; columns error_stage and error say why")
