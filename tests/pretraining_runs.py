"""A tiny masked pre-training on generated audio, and one process of it: ``pretraining_runs.py CONFIG STATE``."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from codec.config import from_dict
from codec.train.tasks.base import config_class
from codec.train.trainer import Trainer

RATE = 4_000
FRONT = {"sample_rate": RATE, "n_fft": 128, "hop_length": 64, "num_mels": 16, "fmin": 0.0}
ENCODER = {"size": "micro", "dim": 16, "depth": 1, "heads": 2, "patch": 4, "frames": 32, "front": FRONT}
PREDICTOR = {"dim": 16, "depth": 1, "heads": 2}
CLASSES = {"count": 12, "hidden": 16, "bottleneck": 8}


def masked_values(folder: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    """Plain settings of a run of a few steps; ``changes`` replace whole keys."""
    values = {
        "task": "matpac",
        "output": str(folder / "run"),
        "encoder": ENCODER,
        "predictor": PREDICTOR,
        "classes": CLASSES,
        "data": data_values(folder, manifest),
        "optimizer": {"lr": 1e-2, "betas": [0.9, 0.95], "eps": 1e-4},
        "max_steps": 6,
        "checkpoint_every": 100,
        "log_every": 3,
        "sample_every": 0,
        "tracker": "none",
    }
    return {**values, **changes}


def data_values(folder: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    """The data section."""
    values = {"manifests": [str(manifest)], "cache": str(folder / "cache"), "held_out": 4, "batch_size": 4}
    return {**values, **changes}


def masked_trainer(values: dict[str, Any]) -> Trainer:
    """A trainer of plain settings."""
    return Trainer(from_dict(config_class(values), values))


def train_alone(values: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Run to the end; the weights, and what this process was shown."""
    trainer = masked_trainer(values)
    trainer.run()
    shown = [trainer.task.batches.batch(step) for step in range(trainer.step)]
    tensors = {name: value.clone() for name, value in trainer.task.model.state_dict().items()}
    shown_wav, orders = torch.stack([b.wav for b in shown]), torch.stack([b.order for b in shown])
    return tensors | {"shown": shown_wav, "orders": orders}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file(train_alone(json.loads(Path(sys.argv[1]).read_text())), sys.argv[2])
