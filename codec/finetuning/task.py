"""Fine-tuning of a speech encoder by CTC: the head first, a frozen front, a rate in three stages."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from accelerate import Accelerator
from rich.console import Console
from rich.progress import track
from safetensors.torch import save
from torch import Tensor

from codec.asr.alphabet import Alphabet, frames_needed
from codec.asr.head import CtcHead
from codec.atomic import atomic_path
from codec.data.loading.config import DataConfig
from codec.data.loading.prefetch import Prefetcher
from codec.data.loading.source import open_audio, training_clips
from codec.encoders.waveform import wave_extractor
from codec.errors import CodecError
from codec.finetuning.batches import SpokenBatch, SpokenBatches, spoken_clips
from codec.finetuning.config import EncoderConfig
from codec.finetuning.network import SpokenEncoder
from codec.merging.encoders import read_encoder, save_encoder
from codec.train.checkpoint import Parts
from codec.train.optimizer import Optimizer, Rates
from codec.train.step import FiniteGuard
from codec.train.tasks.base import Task, task


@task("encoder")
class EncoderTask(Task):
    """A speech encoder of transformers and what trains it.

    Attributes:
        network: encoder and head.
        batches: the clips of each step.
        skipped: clips that were left out, by why.
    """

    Config = EncoderConfig
    free_settings: ClassVar[frozenset[str]] = frozenset({"data.cache", "data.root", "data.workers", "data.prefetch"})

    def __init__(self, config: EncoderConfig, accelerator: Accelerator):
        if accelerator.num_processes > 1:
            raise CodecError("codec finetune-encoder: runs in one process; leave out accelerate launch")
        self.config, self.device = config, accelerator.device
        self._base, self._alphabet = read_encoder(config.encoder, "base"), Alphabet(config.alphabet)
        extractor = wave_extractor(config.encoder)
        model = self._base.model.float()
        head = CtcHead(model.config.hidden_size, self._alphabet.size, config.head)
        self.network = SpokenEncoder(model, head, bool(extractor.do_normalize)).to(self.device)
        self.network.freeze(config.freeze_weights)
        self._open(config, int(extractor.sampling_rate))
        weights = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimizer = Optimizer(weights, config.optimizer)
        self._rates, self._guard = Rates(config.schedule, config.max_steps), FiniteGuard()

    def loader(self, start: int, stop: int) -> Prefetcher:
        data = self.config.data
        return Prefetcher(
            cast(Any, self.batches), start, stop, data.workers, data.prefetch, self.device.type == "cuda"
        )

    def step(self, batch: SpokenBatch, step: int) -> dict[str, Tensor]:
        batch = batch.map(lambda tensor: tensor.to(self.device, non_blocking=True))
        self.optimizer.set_rate(self._rates(step))
        head_only = step < self.config.heads_first * self.config.max_steps
        loss = self.network.train()(batch.wavs, batch.labels, head_only).values.mean()
        loss.backward()
        values = {"ctc": loss.detach(), "total": loss.detach(), "grad_norm": self.optimizer.clip()}
        self._guard.watch(values, step)
        if self.device.type == "cpu":
            self._guard.check()
        self.optimizer.step()
        return values

    def check(self) -> None:
        self._guard.check()

    def tensors(self) -> Parts:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": {"cpu": torch.get_rng_state()},
        }

    def load(self, parts: Parts) -> None:
        self.network.load_state_dict(parts["network"])
        self.optimizer.load_state_dict(parts["optimizer"])
        torch.set_rng_state(parts["rng"]["cpu"])

    def data_facts(self) -> dict[str, int | str]:
        return {
            "clips": len(self._store.clips),
            "samples": int(self._store.offsets[-1]),
            "base": str(self._base.hashes["fingerprint"]),
        }

    def export(self, folder: Path) -> None:
        """The encoder as ``from_pretrained`` loads it, with the hash of its base; the head next to the folder."""
        folder.mkdir(parents=True, exist_ok=True)
        save_encoder(self.network.released(), self._base, folder)
        self.network.resume()
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.network.head.state_dict().items()}
        with atomic_path(folder.with_name("head.safetensors")) as temporary:
            facts = {"ctc": json.dumps({"alphabet": self._alphabet.characters, "attach": "last_hidden_state"})}
            temporary.write_bytes(save(tensors, metadata=facts))

    def _open(self, config: EncoderConfig, sample_rate: int) -> None:
        console, own = Console(stderr=True), config.data

        def progress(items: Iterable[Any], total: int) -> Iterable[Any]:
            return track(items, "decoding audio", total, console=console)

        def warn(line: str) -> None:
            console.print(f"warning: {line}", highlight=False, markup=False, soft_wrap=True)

        data = DataConfig(own.manifests, own.root, own.max_clips, own.skip_bad_audio, own.cache)
        self._store = open_audio(data, training_clips(data), sample_rate, progress, warn)
        network = self.network
        spoken = spoken_clips(
            self._store,
            self._alphabet,
            own.max_seconds,
            lambda samples, labels: frames_needed(labels) <= network.num_frames(samples) * network.head.repeat,
        )
        self.skipped = spoken.skipped
        for why, count in spoken.skipped.items():
            warn(f"left out {count} of {len(self._store.clips)} clips: {why}")
        if not spoken.clips:
            why, total = max(self.skipped, key=self.skipped.__getitem__), len(self._store.clips)
            raise CodecError(f"none of the {total} clips can be trained on, most of them {why}; give others")
        self.batches = SpokenBatches(self._store, spoken, own.batch_size, config.seed)
