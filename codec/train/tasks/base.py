"""The interface of a kind of training for the trainer, and the settings that every kind has."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from torch import Tensor

from codec.config import to_dict
from codec.errors import CodecError
from codec.registry import Registry
from codec.train.checkpoint import Parts, checkpoint_name


@dataclass(frozen=True)
class RunConfig:
    """Settings of a run of any task; a task's own dataclass adds to them."""

    task: str = "codec"
    """Kind of training."""
    output: str = "runs/default"
    """Folder of checkpoints, logs and the exported model."""
    seed: int = 0
    threads: int | None = None
    """CPU threads; torch's choice by default."""
    max_steps: int = 100_000
    checkpoint_every: int = 1000
    keep: int = 3
    """Number of checkpoints that are kept; older ones are deleted."""
    log_every: int = 20
    sample_every: int = 1000
    """Steps between samples, such as audio and spectrograms; 0 for none."""
    tracker: Literal["tensorboard", "wandb", "none"] = "tensorboard"
    resume: bool = False
    """Resume from the newest good checkpoint in output."""
    init_from: str | None = None
    """Start from a model folder, or from a training checkpoint (discriminators included)."""

    def __post_init__(self) -> None:
        for name in ("max_steps", "checkpoint_every", "keep", "log_every"):
            if getattr(self, name) < 1:
                raise CodecError(f"config {name}: expected at least 1, got {getattr(self, name)}")


class Task(ABC):
    """One kind of training, built as ``cls(config, accelerator)`` from its ``Config``.

    The trainer owns the loop: steps, logs, checkpoints, resume, signals. A task owns what a step is. Each
    batch and each random draw is a function of the seed and the step, so that a resumed run equals an
    uninterrupted one. Everything a user can get wrong is found in the constructor.
    """

    Config: ClassVar[type[RunConfig]]
    free_settings: ClassVar[frozenset[str]] = frozenset()
    """Settings of the task that may change on resume, since no step depends on them."""

    @abstractmethod
    def __init__(self, config: Any, accelerator: Accelerator) -> None:
        """Build all parts of the run from a ``Config``.

        Raises:
            CodecError: for anything that a user can get wrong.
        """

    @classmethod
    def settings(cls, config: Any) -> dict[str, Any]:
        """All settings of a ``Config``, with those that its mappings of options leave to their defaults.

        Raises:
            CodecError: for an option that does not exist.
        """
        return to_dict(config)

    @abstractmethod
    def loader(self, start: int, stop: int) -> AbstractContextManager[Iterable[Any]]:
        """Context of the batches of steps ``start`` to ``stop - 1``, in order, on the CPU."""

    @abstractmethod
    def step(self, batch: Any, step: int) -> dict[str, Tensor]:
        """Train on a batch.

        Returns:
            Detached scalars for the log, by tag.
        """

    @abstractmethod
    def tensors(self) -> Parts:
        """All that changes during a run, by part, for a checkpoint."""

    @abstractmethod
    def load(self, parts: Parts) -> None:
        """Restore :meth:`tensors`, bit for bit."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write what the run is for, as it is now."""

    def check(self) -> None:  # noqa: B027  (most have nothing to check)
        """Raise a :class:`CodecError` if training went wrong; called before a save."""

    @classmethod  # noqa: B027  (most find it when they take the weights)
    def check_start(cls, config: Any) -> None:
        """Raise a :class:`CodecError` when ``config.init_from`` cannot fit; called before data are opened."""

    def initialize(self, source: str) -> None:
        """Take weights from ``source`` (``init_from``)."""
        raise CodecError(f"init_from {source}: a run of this task cannot start from another")

    def data_facts(self) -> Mapping[str, Any]:
        """Plain data that identifies the training set; a resumed run's must be equal."""
        return {}

    def facts(self, seconds_per_step: float) -> dict[str, float]:
        """Values of a log record that no step returns, by tag."""
        return {}

    def samples(self, step: int) -> None:  # noqa: B027  (not every task has any)
        """Hand samples to the tracker."""


_PLACES = ("codec.train.tasks", "codec.distilling.task", "codec.pretraining.tasks", "codec.finetuning.task")
TASKS: Registry[type[Task]] = Registry("task", *_PLACES)


def task(name: str) -> Callable[[type[Task]], type[Task]]:
    """Class decorator: register a :class:`Task`, whose configs have ``task: name``."""
    return TASKS.register(name)


def config_class(values: Mapping[str, Any]) -> type[RunConfig]:
    """The dataclass of plain settings, by their ``task``.

    Raises:
        CodecError: for a task that is not registered.
    """
    return TASKS.find(values.get("task", RunConfig.task), "config task").Config


def make_accelerator(config: RunConfig) -> Accelerator:
    """Processes, device and tracker. Precision is ours: the quantizer is an island in float32."""
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        # cuDNN's own choice: timing every kernel for a hundred convolutions takes longer than a minute.
        torch.backends.cudnn.benchmark = False
    # Buffers differ by process only where they are meant to; codebooks are kept equal by their sums.
    wrapper = DistributedDataParallelKwargs(broadcast_buffers=False)
    if config.tracker != "none" and find_spec(config.tracker) is None:
        raise CodecError(
            f"config tracker: {config.tracker} is not installed; pip install {config.tracker}, or set tracker=none"
        )
    return Accelerator(
        mixed_precision="no",
        kwargs_handlers=[wrapper],
        log_with=None if config.tracker == "none" else config.tracker,
        project_dir=config.output,
    )


def output_folders(config: RunConfig) -> tuple[Path, Path]:
    """Folders of the checkpoints and of the exported model."""
    return Path(config.output) / "checkpoints", Path(config.output) / "export"


def is_trained(config: RunConfig) -> bool:
    """Whether a run has taken its last step and exported the model of that step."""
    checkpoints, export = output_folders(config)
    last = checkpoints / checkpoint_name(config.max_steps) / "manifest.json"
    model = export / "model.safetensors"
    # A full disk may have left the export of an earlier checkpoint.
    return last.is_file() and model.is_file() and model.stat().st_mtime_ns >= last.stat().st_mtime_ns
