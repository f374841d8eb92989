"""The training run: restore, loop, log, save. What a step is, the task knows."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.jobs.stop import StopRequest
from codec.precision import warn_of_slow_bf16
from codec.train.checkpoint import (
    Checkpoint,
    check_same_run,
    list_checkpoints,
    read_latest,
    write_checkpoint,
)
from codec.train.distributed import largest
from codec.train.logs import Meter, RunLog
from codec.train.tasks.base import TASKS, RunConfig, make_accelerator, output_folders


@dataclass(frozen=True)
class RunResult:
    """The end of a run.

    Attributes:
        step: steps done in all.
        signal: number of the signal that ended it, if one did.
        export: folder of the exported model.
    """

    step: int
    signal: int | None
    export: Path


class Trainer:
    """One run. Everything a user can get wrong is found while it is built."""

    def __init__(self, config: RunConfig):
        """
        Raises:
            CodecError: for anything wrong with config, data, features, or the model or checkpoint
                to resume from.
        """
        self.config = config
        self.output = Path(config.output)
        self.checkpoints, self.export = output_folders(config)
        existing = list_checkpoints(self.checkpoints)
        if existing and not config.resume:
            raise CodecError(
                f"{self.output} holds a run ({existing[-1].name}); set resume=true to continue it, or "
                "another output"
            )
        task = TASKS.find(config.task, "config task")
        if not isinstance(config, task.Config):
            raise CodecError(f"config task: {config.task!r} is given the settings of another task")
        if config.init_from is not None and not existing:
            # Before the seed, since it draws the weights of a network.
            task.check_start(config)
        self.accelerator = make_accelerator(config)
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        torch.manual_seed(config.seed)
        self.task = task(config, self.accelerator)
        self.step = 0
        self._saved: int | None = None
        self._plain_config = to_dict(config)
        resumed = config.resume and self._resume()
        if self.accelerator.device.type == "cpu" and self.accelerator.is_main_process:
            warn_of_slow_bf16(task.settings(config), resumed)
        if not resumed and config.init_from is not None:
            self.task.initialize(config.init_from)

    def run(self, until: int | None = None) -> RunResult:
        """Train to ``max_steps`` or to ``until``, whichever comes first, and save.

        Raises:
            CodecError: when a loss becomes NaN or infinite, or the last checkpoint cannot be written.
        """
        last = min(self.config.max_steps, until if until is not None else self.config.max_steps)
        loader = self.task.loader(self.step, last)
        self.output.mkdir(parents=True, exist_ok=True)
        self.accelerator.init_trackers("logs")
        log = RunLog(self.accelerator, self.output, self.step, self.config.max_steps)
        with StopRequest() as stop, loader as batches, log:
            self._loop(batches, log, stop)
            self.task.check()
            # What was written after this very step is not replaced, so that there is no moment without it.
            if self._saved != self.step:
                self._save()
        self.accelerator.end_training()
        return RunResult(self.step, stop.signal, self.export)

    def _loop(self, batches: Iterable[Any], log: RunLog, stop: StopRequest) -> None:
        config, task, meter = self.config, self.task, Meter()
        logged, started = self.step, time.perf_counter()
        for batch in batches:
            seed_step(config.seed, self.step, self.accelerator.process_index)
            meter.add(task.step(batch, self.step))
            self.step += 1
            log.advance(self.step)
            if self.step % config.log_every == 0 or self.step == config.max_steps:
                task.check()
                seconds = (time.perf_counter() - started) / (self.step - logged)
                log.write(self.step, meter.means() | task.facts(seconds))
                logged, started = self.step, time.perf_counter()
            if self.step % config.checkpoint_every == 0:
                self._save_midway(log)
            if config.sample_every and self.step % config.sample_every == 0:
                task.samples(self.step)
            # When one process was asked to stop, all leave after the same step.
            asked = largest(stop.signal or 0, self.accelerator.device)
            if asked:
                # A signal that comes while the others are waited for stays, and counts after the next step.
                stop.signal = stop.signal or asked
                log.say(f"asked to stop: saving after step {self.step}")
                return

    def _save_midway(self, log: RunLog) -> None:
        """Save; a full disk is no reason to lose a run that may find room at the next checkpoint."""
        self.task.check()
        try:
            self._save()
        except CodecError as error:
            log.say(f"warning: {error}; training continues")

    def _save(self) -> None:
        problem: CodecError | None = None
        if self.accelerator.is_main_process:
            meta = {"config": self._plain_config, "data": dict(self.task.data_facts())}
            checkpoint = Checkpoint(self.step, self.task.tensors(), meta)
            try:
                write_checkpoint(self.checkpoints, checkpoint, self.config.keep)
                self.task.export(self.export)
            except CodecError as error:
                problem = error
        # All processes wait for this one, and learn whether it failed: they go on or end together.
        if largest(int(problem is not None), self.accelerator.device):
            raise problem or CodecError(f"the checkpoint of step {self.step} was not written")
        self._saved = self.step

    def _resume(self) -> bool:
        """Resume from the newest good checkpoint; false where there is none."""
        checkpoint = read_latest(self.checkpoints, lambda line: print(f"warning: {line}"))
        if checkpoint is None:
            return False
        where = f"{self.checkpoints} (step {checkpoint.step})"
        # Through the dataclass, so that a setting that did not exist then has its default.
        before = to_dict(from_dict(type(self.config), checkpoint.meta["config"]))
        saved = {**before, "data_found": checkpoint.meta["data"]}
        now = {**self._plain_config, "data_found": dict(self.task.data_facts())}
        check_same_run(saved, now, where, self.task.free_settings)
        self.task.load(checkpoint.parts)
        self.step = checkpoint.step
        return True


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make global random draws of a step, such as a dropout's, a function of where we are."""
    torch.manual_seed((seed * 1_000_003 + step) * 4_099 + rank)
