"""One process of a training run: ``python ddp_worker.py CONFIG.json STATE.safetensors``."""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from codec.config import from_dict
from codec.train.config import TrainConfig
from codec.train.trainer import Trainer


def train(values: dict) -> dict[str, torch.Tensor]:
    """Run to the end; the tensors of all modules."""
    trainer = Trainer(from_dict(TrainConfig, values))
    trainer.run()
    state = trainer.task.parts.state
    modules = {
        "generator": state.generator,
        "discriminators": state.discriminators,
        "objective": state.objective,
    }
    return {
        f"{part}.{name}": value.clone()
        for part, module in modules.items()
        if module is not None
        for name, value in module.state_dict().items()
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file(train(json.loads(Path(sys.argv[1]).read_text())), sys.argv[2])
