"""Embedding-only distillation: a teacher's vector of each clip, nothing else, into a small encoder."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import track
from torch import Tensor

from codec.data.clusters import cluster_weights, effective_size, fit_clusters, read_clusters, write_clusters
from codec.data.loading.config import DataConfig
from codec.data.loading.prefetch import Prefetcher
from codec.data.loading.source import open_audio, training_clips
from codec.data.store import AudioStore
from codec.distilling.batches import EmbeddingBatch, WindowBatches
from codec.distilling.config import EmbeddingConfig
from codec.distilling.losses import EmbeddingObjective
from codec.distilling.network import Distiller
from codec.distilling.targets import TargetScale, Vectors, read_vectors
from codec.errors import CodecError
from codec.students.files import load_student, save_student
from codec.students.front import cut
from codec.students.student import Student
from codec.train.checkpoint import Parts
from codec.train.optimizer import Optimizer, Rates, WeightAverage
from codec.train.step import FiniteGuard
from codec.train.tasks.base import Task, task

CLUSTERS = "clusters.csv"
SHOWN = 64
"""Clips kept aside that are measured when the log is written."""
FEW = 0.1
"""Share of the clips below which the effective sample size is worth a warning."""


@task("embedding")
class EmbeddingTask(Task):
    """A :class:`codec.students.student.Student` and what trains it.

    Attributes:
        distiller: student and head.
        batches: the windows of each step.
        store: the audio, at the student's rate.
        vectors: the teacher's, a row for each clip of the store.
        training, held_out: indices into the store of the clips that are trained on and those held out.
    """

    Config = EmbeddingConfig
    free_settings: ClassVar[frozenset[str]] = frozenset(
        {"data.cache", "data.root", "data.workers", "data.prefetch", "probe", "teacher_parameters"}
    )

    def __init__(self, config: EmbeddingConfig, accelerator: Accelerator):
        self.config, self.accelerator = config, accelerator
        self._console = Console(stderr=True, quiet=not accelerator.is_main_process)
        if config.data.batch_size % accelerator.num_processes:
            raise CodecError(
                f"config data.batch_size: {config.data.batch_size} windows cannot be shared evenly by "
                f"{accelerator.num_processes} processes"
            )
        self.objective = EmbeddingObjective(config.losses)
        # Before the data, since it is built in a moment and tells a wrong architecture.
        student = Student(config.student)
        with accelerator.main_process_first():
            self.store, self.vectors = self._open(config)
            self._split()
            clusters = self._cluster(config)
        self.scale = TargetScale(self.vectors.values[self.training], config.normalize)
        self.distiller = Distiller(student, config.head, self.vectors.info.dim).to(accelerator.device)
        self._wrapped = accelerator.prepare_model(self.distiller)
        self.optimizer = Optimizer(self.distiller.parameters(), config.optimizer)
        self._average = WeightAverage(self.distiller, config.ema_decay)
        self._rates, self._guard = Rates(config.schedule, config.max_steps), FiniteGuard()
        share = config.data.batch_size // accelerator.num_processes
        first = share * accelerator.process_index
        self.batches = WindowBatches(
            self.store,
            config.student.window,
            self.training.numpy(),
            lambda clips: self.scale(self.vectors.values[clips]),
            np.ones(len(self.training)),
            config.seed,
            range(first, first + share),
        )
        self._balance(clusters)

    def loader(self, start: int, stop: int) -> Prefetcher:
        data = self.config.data
        on_gpu = self.accelerator.device.type == "cuda"
        return Prefetcher(cast(Any, self.batches), start, stop, data.workers, data.prefetch, on_gpu)

    def step(self, batch: EmbeddingBatch, step: int) -> dict[str, Tensor]:
        batch = batch.map(lambda tensor: tensor.to(self.accelerator.device, non_blocking=True))
        self.optimizer.set_rate(self._rates(step))
        predicted = self._wrapped(batch.wav)
        total, losses = self.objective(predicted, batch.target)
        total.backward()
        values = {name: value.detach() for name, value in losses.items()}
        values |= {"total": total.detach(), "grad_norm": self.optimizer.clip()}
        self._guard.watch(values, step)
        if self.accelerator.device.type == "cpu":
            self._guard.check()
        self.optimizer.step()
        self._average.update(step)
        return values | self.scale.gains(predicted.detach(), batch.target)

    def check(self) -> None:
        self._guard.check()

    def tensors(self) -> Parts:
        return {
            "distiller": self.distiller.state_dict(),
            "average": self._average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scale": self.scale.state_dict(),
            "draws": {"weights": torch.from_numpy(self.batches.weights)},
            "rng": {"cpu": torch.get_rng_state()},
        }

    def load(self, parts: Parts) -> None:
        self.distiller.load_state_dict(parts["distiller"])
        self._average.load_state_dict(parts["average"])
        self.optimizer.load_state_dict(parts["optimizer"])
        self.scale.load_state_dict(parts["scale"])
        self.batches.weights = parts["draws"]["weights"].numpy()
        torch.set_rng_state(parts["rng"]["cpu"])

    def initialize(self, source: str) -> None:
        """Start from another student of the same architecture, size and front."""
        student = load_student(source, "cpu")
        if student.config != self.config.student:
            raise CodecError(f"init_from {source}: {student.config} is not this run's {self.config.student}")
        self.distiller.student.load_state_dict(student.state_dict())
        self._average.load_state_dict(dict(self.distiller.named_parameters()))

    def data_facts(self) -> dict[str, int | str]:
        info = self.vectors.info
        return {
            "clips": len(self.store.clips),
            "samples": int(self.store.offsets[-1]),
            "teacher": f"{info.teacher} {info.layer} {info.mode}",
        }

    def facts(self, seconds_per_step: float) -> dict[str, float]:
        """Speed, the gain on clips held out, and how evenly clips are drawn."""
        if not self.accelerator.is_main_process:
            return {}
        hours = self.config.data.batch_size * self.config.student.seconds / seconds_per_step
        shown = self.held_out[:: -(-len(self.held_out) // SHOWN)]
        gains = {f"held_out/{name}": value for name, value in self.measure(shown).items()}
        return {"hours_per_hour": hours, "effective_clips": effective_size(self.batches.weights), **gains}

    def export(self, folder: Path) -> None:
        save_student(self.released().student, folder)

    def released(self) -> Distiller:
        """A copy with averaged weights, in eval mode."""
        distiller = copy.deepcopy(self.distiller)
        distiller.load_state_dict({**self.distiller.state_dict(), **self._average.state_dict()})
        return distiller.eval().requires_grad_(False)

    @torch.no_grad()
    def measure(self, clips: Tensor) -> dict[str, float]:
        """Cosine with the teacher, that of the constant predictor, and the gain, by the averaged weights.

        Args:
            clips: indices into the store.
        """
        distiller, window = self.released(), self.config.student.window
        vectors = []
        for clip in clips.tolist():
            wav = torch.from_numpy(self.store.read(clip, 0, int(self.store.lengths[clip])))
            vectors.append(distiller.student(cut(wav, window).to(self.accelerator.device)).mean(dim=0))
        target = self.scale(self.vectors.values[clips]).to(self.accelerator.device)
        gains = self.scale.gains(distiller.head(torch.stack(vectors)), target)
        return {name: value.item() for name, value in gains.items()}

    def _open(self, config: EmbeddingConfig) -> tuple[AudioStore, Vectors]:
        def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
            return track(items, "decoding audio", total, console=self._console)

        own = config.data
        data = DataConfig(
            own.manifests, own.root, own.max_clips, skip_bad_audio=own.skip_bad_audio, cache=own.cache
        )
        store = open_audio(data, training_clips(data), config.student.front.sample_rate, progress, self._warn)
        usable = np.flatnonzero(store.lengths)
        if config.clusters is not None:
            # Now, since the teacher may take hours for what follows.
            config.clusters.check_size(len(usable) - own.held_out)
        found = read_vectors(config.teacher, [store.clips[i] for i in usable])
        # As many rows as the store has clips; those without audio say nothing.
        values = torch.zeros(len(store.clips), found.info.dim)
        mask = torch.zeros(len(store.clips), dtype=torch.bool)
        values[usable], mask[usable] = found.values, found.mask
        return store, Vectors(values, mask, found.info)

    def _warn(self, line: str) -> None:
        self._console.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)

    def _split(self) -> None:
        known = torch.nonzero(self.vectors.mask)[:, 0]
        count = self.config.data.held_out
        if len(known) <= count:
            raise CodecError(
                f"config data.held_out: {count} clips are to be held out, and the teacher describes "
                f"{len(known)}; set fewer or add data"
            )
        aside = torch.zeros(len(known), dtype=torch.bool)
        aside[[number * len(known) // count for number in range(count)]] = True
        self.held_out, self.training = known[aside], known[~aside]

    def _cluster(self, config: EmbeddingConfig) -> np.ndarray | None:
        """Clusters of the training clips; made by the first process, read by the others."""
        if config.clusters is None:
            return None
        path = Path(config.output) / CLUSTERS
        names = [self.store.clips[i].name for i in self.training.tolist()]
        if not self.accelerator.is_main_process:
            return read_clusters(path, names)
        labels = fit_clusters(self.vectors.values[self.training].numpy(), config.clusters, config.seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clusters(path, names, labels)
        return labels

    def _balance(self, labels: np.ndarray | None) -> None:
        clusters = self.config.clusters
        if labels is None or clusters is None:
            return
        weights = cluster_weights(labels, clusters.power, clusters.max_ratio)
        self.batches.weights = weights
        size = effective_size(weights)
        if size < FEW * len(weights):
            self._warn(
                f"balanced draws are worth {size:.0f} of {len(weights)} clips; a lower clusters.power or "
                "max_ratio, or a higher min_size, repeats fewer of them"
            )
