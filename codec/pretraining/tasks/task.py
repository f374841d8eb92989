"""The run of a masked pre-training; what is encoded, and what is masked, a subclass knows."""

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import track
from torch import Tensor

from codec.data.loading.config import DataConfig
from codec.data.loading.prefetch import Prefetcher
from codec.data.loading.source import open_audio, training_clips
from codec.data.store import AudioStore
from codec.errors import CodecError
from codec.pretraining.models.config import Shape
from codec.pretraining.models.files import save_pretrained
from codec.pretraining.models.frames import FrameEncoder
from codec.pretraining.models.patches import PatchEncoder
from codec.pretraining.objective.diagnostics import CollapseWatch, held_out, position_means
from codec.pretraining.objective.masked import MaskedModel
from codec.pretraining.objective.pairs import Pair
from codec.pretraining.objective.schedules import Schedules
from codec.pretraining.tasks.config import MaskedConfig
from codec.pretraining.tasks.data import MaskedBatch, MaskedBatches, Masks, check_classes, divide
from codec.train.checkpoint import Parts
from codec.train.optimizer import Optimizer, Rates, ScheduleConfig
from codec.train.step import FiniteGuard
from codec.train.tasks.base import Task


@dataclass(frozen=True)
class Setting:
    """What a kind of masked pre-training is made of.

    Attributes:
        pair: student and teacher.
        predictor: shape of the predictor.
        masks: what is hidden.
        tokens: of a crop.
        window: samples of a crop.
        sample_rate: Hz.
    """

    pair: Pair
    predictor: Shape
    masks: Masks
    tokens: int
    window: int
    sample_rate: int


class MaskedTask(Task):
    """A student encoder, its teacher, and what trains them.

    Attributes:
        model: all weights, the teachers' too.
        batches: the crops of each step.
        store: the audio, at the encoder's rate.
        watch: looks for a collapse.
    """

    free_settings: ClassVar[frozenset[str]] = frozenset(
        {
            *("data.cache", "data.root", "data.workers", "data.prefetch"),
            *("collapse.stop", "collapse.after", "collapse.min_classes", "collapse.min_spread"),
        }
    )

    def __init__(self, config: MaskedConfig, accelerator: Accelerator):
        self.config, self.accelerator = config, accelerator
        self._console = Console(stderr=True, quiet=not accelerator.is_main_process)
        share, left = divmod(config.data.batch_size, accelerator.num_processes)
        if left:
            raise CodecError(
                f"config data.batch_size: {config.data.batch_size} crops cannot be shared evenly by "
                f"{accelerator.num_processes} processes"
            )
        # Before the data, since it is built in a moment and finds wrong settings.
        setting = self.build()
        self._visible = setting.masks.visible
        with accelerator.main_process_first():
            self.store = self._open(setting.sample_rate)
        division = divide(self.store, setting.window, config.data)
        classes = config.classes.count if config.weights.classification else 0
        check_classes(classes, self.store, division, setting.tokens, setting.window)
        for kind, count in division.left_out.items():
            if count:
                self._warn(f"left out: {count} of {len(self.store.clips)} clips, which are {kind}")
        first = share * accelerator.process_index
        self.batches = MaskedBatches(
            self.store, setting.window, division.training, setting.masks, config.seed, range(first, first + share)
        )
        self.model = MaskedModel(
            setting.pair, setting.predictor, config.hypotheses.count, config.classes, config.weights
        ).to(accelerator.device)
        self._wrapped = accelerator.prepare_model(self.model)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizer = Optimizer(trained, config.optimizer)
        schedule = ScheduleConfig(warmup_steps=round(config.warmup_share * config.max_steps), floor=0.0)
        self._rates, self._guard = Rates(schedule, config.max_steps), FiniteGuard()
        self._schedules = Schedules(config.teacher, config.classes, config.hypotheses, config.max_steps)
        self.watch = CollapseWatch(config.collapse, classes, config.max_steps)
        training = division.training.nonzero()[0]
        spread = training[:: -(-len(training) // config.data.held_out)].tolist()
        self._aside, self._known = self.batches.fixed(division.held_out), self.batches.fixed(spread)

    @abstractmethod
    def build(self) -> Setting:
        """The parts of this kind, of ``self.config``.

        Raises:
            CodecError: for wrong settings.
        """

    @property
    def student(self) -> PatchEncoder | FrameEncoder:
        """The encoder that is trained."""
        return self.model.pair.student

    def loader(self, start: int, stop: int) -> Prefetcher:
        data = self.config.data
        on_gpu = self.accelerator.device.type == "cuda"
        return Prefetcher(cast(Any, self.batches), start, stop, data.workers, data.prefetch, on_gpu)

    def step(self, batch: MaskedBatch, step: int) -> dict[str, Tensor]:
        batch = self._move(batch)
        self.optimizer.set_rate(self._rates(step))
        moment = self._schedules.at(step)
        with self._autocast():
            masked = self._wrapped(batch.wav, batch.order, self._visible, moment)
        decays = self._schedules.encoder_decay(step), self._schedules.head_decay(step)
        if step:
            # Between the targets and the update, as released: a teacher lags by one more step.
            self.model.follow(*decays)
        masked.total.backward()
        values = {name: loss.detach() for name, loss in masked.losses.items()} | masked.signs
        values |= {"total": masked.total.detach(), "grad_norm": self.optimizer.clip()}
        self._guard.watch(values, step)
        if self.accelerator.device.type == "cpu":
            self._guard.check()
        self.watch.update(masked.signs)
        self.optimizer.step()
        plain = {
            "teacher/encoder_decay": decays[0],
            "teacher/head_decay": decays[1],
            "teacher/temperature": moment.teacher_temperature,
            "assignment_temperature": moment.assignment_temperature or 0.0,
        }
        device = self.accelerator.device
        return values | {name: torch.full((), value, device=device) for name, value in plain.items()}

    def check(self) -> None:
        self._guard.check()
        line = self.watch.check()
        if line is not None:
            self._warn(line)

    def tensors(self) -> Parts:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "watch": self.watch.state_dict(),
            "rng": {"cpu": torch.get_rng_state()},
        }

    def load(self, parts: Parts) -> None:
        self.model.load_state_dict(parts["model"])
        self.optimizer.load_state_dict(parts["optimizer"])
        self.watch.load_state_dict(parts["watch"])
        torch.set_rng_state(parts["rng"]["cpu"])

    def start_from(self, encoder: PatchEncoder | FrameEncoder, source: str) -> None:
        """Give student and teacher the weights of another encoder.

        Raises:
            CodecError: when its sizes differ.
        """
        pair = self.model.pair
        try:
            pair.student.load_state_dict(encoder.state_dict())
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CodecError(f"init_from {source}: its sizes are not this run's ({reason})") from None
        pair.teacher.load_state_dict(pair.followed().state_dict())

    def data_facts(self) -> dict[str, int]:
        return {"clips": len(self.store.clips), "samples": int(self.store.offsets[-1])}

    def facts(self, seconds_per_step: float) -> dict[str, float]:
        """Speed, and predictions on clips kept aside with what they must beat."""
        if not self.accelerator.is_main_process:
            return {}
        crops = self.config.data.batch_size / seconds_per_step
        found = {f"held_out/{name}": value for name, value in self.measure().items()}
        return {"hours_per_hour": crops * self.batches.window / self.store.sample_rate, **found}

    def measure(self) -> dict[str, float]:
        """See :func:`codec.pretraining.objective.diagnostics.held_out`."""
        known, aside = self._move(self._known), self._move(self._aside)
        with self._autocast():
            means = position_means(self.model, known.wav, known.order, self._visible)
            return held_out(self.model, aside.wav, aside.order, self._visible, means)

    def export(self, folder: Path) -> None:
        save_pretrained(self.student, folder)

    def _move(self, batch: MaskedBatch) -> MaskedBatch:
        return batch.map(lambda tensor: tensor.to(self.accelerator.device, non_blocking=True))

    def _autocast(self) -> torch.autocast:
        mixed = self.config.precision == "bf16"
        return torch.autocast(
            self.accelerator.device.type, dtype=torch.bfloat16 if mixed else None, enabled=mixed
        )

    def _open(self, sample_rate: int) -> AudioStore:
        own = self.config.data
        data = DataConfig(own.manifests, own.root, own.max_clips, own.skip_bad_audio, own.cache)

        def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
            return track(items, "decoding audio", total, console=self._console)

        return open_audio(data, training_clips(data), sample_rate, progress, self._warn)

    def _warn(self, line: str) -> None:
        self._console.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)
