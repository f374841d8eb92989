"""One process of a distillation: ``python distill_worker.py CONFIG.json STATE.safetensors``."""

import json
import sys
from pathlib import Path

import student_models  # noqa: F401  (registers the tiny trunk)
import torch
from safetensors.torch import save_file

from codec.config import from_dict
from codec.distilling.config import EmbeddingConfig
from codec.train.trainer import Trainer


def distill(values: dict) -> dict[str, torch.Tensor]:
    """Run to the end; the weights, and the clips that this process drew."""
    trainer = Trainer(from_dict(EmbeddingConfig, values))
    trainer.run()
    drawn = [clip for step in range(trainer.step) for clip, _ in trainer.task.batches.chosen(step)]
    tensors = {name: value.clone() for name, value in trainer.task.distiller.state_dict().items()}
    return tensors | {"drawn": torch.tensor(drawn).view(trainer.step, -1)}


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file(distill(json.loads(Path(sys.argv[1]).read_text())), sys.argv[2])
