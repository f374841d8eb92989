"""Training of a codec: reconstruction, discriminators, teachers."""

from pathlib import Path
from typing import ClassVar

from accelerate import Accelerator
from torch import Tensor

from codec.model.files import save_model
from codec.train.build import build_run
from codec.train.checkpoint import Parts
from codec.train.config import TrainConfig
from codec.train.data.prefetch import Prefetcher, ProcessPrefetcher, move_batch, prefetch
from codec.train.samples import log_samples
from codec.train.state import initialize
from codec.train.tasks.base import Task, task
from codec.train.types import Batch


@task("codec")
class CodecTask(Task):
    """A :class:`codec.model.codec.Codec` and what trains it.

    Attributes:
        parts: the data, networks and step of the run.
    """

    Config = TrainConfig
    free_settings: ClassVar[frozenset[str]] = frozenset(
        {
            "compile",
            "cuda_graphs",
            "data.cache",
            "data.root",
            "data.workers",
            "data.processes",
            "data.prefetch",
        }
    )

    def __init__(self, config: TrainConfig, accelerator: Accelerator):
        self.config, self.parts = config, build_run(config, accelerator)

    def loader(self, start: int, stop: int) -> Prefetcher | ProcessPrefetcher:
        on_gpu = self.parts.accelerator.device.type == "cuda"
        return prefetch(self.parts.batches, start, stop, self.config.data, pin=on_gpu)

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        values = self.parts.train_step(move_batch(batch, self.parts.accelerator.device), step)
        self.parts.state.average.update(step)
        return values

    def check(self) -> None:
        self.parts.train_step.check()

    def tensors(self) -> Parts:
        return self.parts.state.tensors()

    def load(self, parts: Parts) -> None:
        self.parts.state.load(parts)

    def initialize(self, source: str) -> None:
        initialize(self.parts.state, source)

    def data_facts(self) -> dict[str, int]:
        store = self.parts.store
        return {"clips": len(store.clips), "samples": int(store.offsets[-1])}

    def facts(self, seconds_per_step: float) -> dict[str, float]:
        """Speed and the codebooks' health."""
        crop = self.config.data.crop_frames / self.config.model.frame_rate
        values = {"hours_per_hour": self.config.data.batch_size * crop / seconds_per_step}
        if "quantizer" in self.config.freeze:
            # It counts nothing.
            return values
        quantizer = self.parts.state.generator.quantizer
        for name, layers in (("usage", quantizer.usage()), ("perplexity", quantizer.perplexity())):
            values |= {f"{name}/{layer}": value for layer, value in enumerate(layers.tolist(), start=1)}
        return values

    def samples(self, step: int) -> None:
        parts = self.parts
        if parts.accelerator.is_main_process and parts.state.generator.quantizer.ready:
            log_samples(parts.accelerator, parts.state.released(), parts.store, step)

    def export(self, folder: Path) -> None:
        save_model(self.parts.state.released(), folder)
