"""Training of a codec: reconstruction, discriminators, teachers."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import Tensor

from codec.audio.mel import mel_picture
from codec.config import to_dict
from codec.console import print_note
from codec.data.batch import Batch
from codec.data.loading.prefetch import Prefetcher, ProcessPrefetcher, move_batch, prefetch
from codec.data.store import AudioStore
from codec.eval.training import Training, read_training, write_training
from codec.model.codec import Codec
from codec.model.files import save_model
from codec.model.lineage import Base, base_of, write_base
from codec.teachers.teaching import teacher_losses
from codec.train.build import build_run
from codec.train.checkpoint import Parts
from codec.train.config import TrainConfig
from codec.train.losses.registry import told_losses
from codec.train.objective import complete_losses
from codec.train.start import check_start, initialize, start_folder
from codec.train.tasks.base import Task, task

SAMPLES = 3
"""Clips that are decoded for listening while a run goes on."""
SAMPLE_SECONDS = 5.0


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
        self._base: Base | None = None
        self._resumed = False

    @classmethod
    def settings(cls, config: TrainConfig) -> dict[str, Any]:
        return to_dict(config) | {"losses": complete_losses(config.losses)}

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
        self._resumed = True

    @classmethod
    def check_start(cls, config: TrainConfig) -> None:
        if config.init_from is not None:
            check_start(config.init_from, config.model, config.freeze)

    def initialize(self, source: str) -> None:
        fresh = initialize(self.parts.state, source)
        if fresh and self.parts.accelerator.is_main_process:
            print_note(
                f"init_from {source}: has no heads of {', '.join(fresh)}; they start from nothing, and until they "
                "have learnt, their gradients lead the model astray"
            )
        self._base = base_of(self.parts.state.released())

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
        self.parts.state.objective.save_heads(folder.with_name("translators.safetensors"))
        training = self._training()
        if training is not None:
            write_training(folder, training)
        # A resumed run does not see its start again; the export before it has the file.
        if not self._resumed:
            write_base(folder, self._base)

    def _training(self) -> Training | None:
        """Losses of the model this run began from and of the run; nothing where that model does not tell them."""
        known: Training | None = Training([])
        if self.config.init_from is not None:
            source = start_folder(self.config.init_from)
            # A model's own folder, or that of a run or of one of its checkpoints, which lie next to its model.
            folders = (source, source / "export", source.parent.parent / "export")
            known = next((found for folder in folders if (found := read_training(folder))), None)
        if known is None:
            return None
        infos = self.parts.teachers
        losses = self.config.losses | teacher_losses(self.config.teachers, infos, self.config.losses)
        teachers = {name: info.teacher for name, info in infos.items()}
        return Training(list(dict.fromkeys([*known.losses, *told_losses(losses, teachers)])))


def log_samples(accelerator: Accelerator, model: Codec, store: AudioStore, step: int) -> None:
    """Decode the starts of a few clips, always the same; original and copy go to the tracker, if there is one."""
    if not accelerator.trackers:
        return
    tracker = accelerator.trackers[0]
    images = {}
    for number, clip in enumerate(store.spread(SAMPLES)):
        real = torch.from_numpy(store.read(clip, 0, round(SAMPLE_SECONDS * store.sample_rate)))
        fake = model.decode(model.encode(real))[0]
        _log_audio(tracker, f"sample/{number}", real, fake, store.sample_rate, step)
        images[f"spectrogram/{number}"] = mel_picture([real, fake], store.sample_rate)[None]
    tracker.log_images(images, step=step, **_image_options(tracker.name))


def _log_audio(tracker: Any, name: str, real: Tensor, fake: Tensor, rate: int, step: int) -> None:
    for kind, wav in (("original", real), ("decoded", fake)):
        if tracker.name == "tensorboard":
            tracker.writer.add_audio(f"{name}/{kind}", wav[None], step, rate)
        else:
            import wandb

            tracker.run.log({f"{name}/{kind}": wandb.Audio(wav.numpy(), sample_rate=rate)}, step=step)


def _image_options(tracker_name: str) -> dict[str, str]:
    return {"dataformats": "NHWC"} if tracker_name == "tensorboard" else {}
