"""The training run: restore, loop, log, save."""

import time
from dataclasses import dataclass
from pathlib import Path

import codec
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.train.build import build_run, output_folders
from codec.train.checkpoint import Checkpoint, list_checkpoints, read_latest, write_checkpoint
from codec.train.config import TrainConfig
from codec.train.data.prefetch import Prefetcher, ProcessPrefetcher, move_batch, prefetch
from codec.train.initialize import initialize
from codec.train.interrupt import StopRequest
from codec.train.logs import Meter, RunLog
from codec.train.resume import check_same_run
from codec.train.samples import log_samples
from codec.train.step import seed_step


@dataclass(frozen=True)
class RunResult:
    """How a run ended.

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

    def __init__(self, config: TrainConfig):
        """
        Raises:
            CodecError: for anything wrong with config, data, features, or the model or checkpoint
                to go on from.
        """
        self.config = config
        self.output = Path(config.output)
        self.checkpoints, self.export = output_folders(config)
        existing = list_checkpoints(self.checkpoints)
        if existing and not config.resume:
            raise CodecError(
                f"{self.output} holds a run ({existing[-1].name}); set resume=true to go on with it, or "
                "another output"
            )
        self.parts = build_run(config)
        self.device = self.parts.accelerator.device
        self.step = 0
        self._plain_config = to_dict(config)
        resumed = config.resume and self._resume()
        if not resumed and config.init_from is not None:
            initialize(self.parts.state, config.init_from)

    def run(self, until: int | None = None) -> RunResult:
        """Train to ``max_steps`` or to ``until``, whichever comes first, and save.

        Raises:
            CodecError: when a loss becomes NaN or infinite, or the last checkpoint cannot be written.
        """
        data, parts = self.config.data, self.parts
        last = min(self.config.max_steps, until if until is not None else self.config.max_steps)
        on_gpu = self.device.type == "cuda"
        loader = prefetch(parts.batches, self.step, last, data, pin=on_gpu)
        self.output.mkdir(parents=True, exist_ok=True)
        parts.accelerator.init_trackers("logs")
        log = RunLog(parts.accelerator, self.output, self.step, self.config.max_steps)
        with StopRequest() as stop, loader, log:
            self._loop(loader, log, stop)
            parts.train_step.guard.check()
            self._save()
        parts.accelerator.end_training()
        return RunResult(self.step, stop.signal, self.export)

    def _loop(self, loader: Prefetcher | ProcessPrefetcher, log: RunLog, stop: StopRequest) -> None:
        config, parts, meter = self.config, self.parts, Meter()
        logged, started = self.step, time.perf_counter()
        for batch in loader:
            seed_step(config.seed, self.step, parts.accelerator.process_index)
            meter.add(parts.train_step(move_batch(batch, self.device), self.step))
            parts.state.average.update(self.step)
            self.step += 1
            log.advance(self.step)
            if self.step % config.log_every == 0:
                parts.train_step.guard.check()
                seconds = (time.perf_counter() - started) / (self.step - logged)
                log.write(self.step, meter.means() | self._facts(seconds))
                logged, started = self.step, time.perf_counter()
            if self.step % config.checkpoint_every == 0:
                self._save_midway(log)
            if config.sample_every and self.step % config.sample_every == 0:
                self._log_samples()
            if stop.agreed(self.device):
                log.say(f"asked to stop: saving after step {self.step}")
                return

    def _facts(self, seconds_per_step: float) -> dict[str, float]:
        """Values of a log record that are no losses: speed and the codebooks' health."""
        crop = self.config.data.crop_frames / self.config.model.frame_rate
        values = {"hours_per_hour": self.config.data.batch_size * crop / seconds_per_step}
        quantizer = self.parts.state.generator.quantizer
        for name, layers in (("usage", quantizer.usage()), ("perplexity", quantizer.perplexity())):
            values |= {f"{name}/{layer}": value for layer, value in enumerate(layers.tolist(), start=1)}
        return values

    def _log_samples(self) -> None:
        parts = self.parts
        if parts.accelerator.is_main_process and parts.state.generator.quantizer.ready:
            log_samples(parts.accelerator, parts.state.released(), parts.store, self.step)

    def _save_midway(self, log: RunLog) -> None:
        """Save; a full disk is no reason to lose a run that may find room at the next checkpoint."""
        self.parts.train_step.guard.check()
        try:
            self._save()
        except CodecError as error:
            log.say(f"warning: {error}; training goes on")

    def _save(self) -> None:
        accelerator = self.parts.accelerator
        if accelerator.is_main_process:
            meta = {"config": self._plain_config, "data": self._data_facts()}
            checkpoint = Checkpoint(self.step, self.parts.state.tensors(), meta)
            write_checkpoint(self.checkpoints, checkpoint, self.config.keep)
            codec.save(self.parts.state.released(), self.export)
        accelerator.wait_for_everyone()

    def _data_facts(self) -> dict[str, int]:
        store = self.parts.store
        return {"clips": len(store.clips), "samples": int(store.offsets[-1])}

    def _resume(self) -> bool:
        """Go on from the newest good checkpoint; false where there is none."""
        checkpoint = read_latest(self.checkpoints, lambda line: print(f"warning: {line}"))
        if checkpoint is None:
            return False
        where = f"{self.checkpoints} (step {checkpoint.step})"
        # Through the dataclass, so that a setting that did not exist then has its default.
        before = to_dict(from_dict(TrainConfig, checkpoint.meta["config"]))
        saved = {**before, "data_found": checkpoint.meta["data"]}
        check_same_run(saved, {**self._plain_config, "data_found": self._data_facts()}, where)
        self.parts.state.load(checkpoint.parts)
        self.step = checkpoint.step
        return True
