"""Branches of tiny models: what training with ``init_from`` would leave, without the training."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from conftest import make_tiny_model
from torch import Tensor

import codec
from codec.model.codec import Codec
from codec.model.lineage import base_of, write_base


def nudge(model: Codec, seed: int, size: float = 0.05, prefix: str = "encoder.") -> Codec:
    """A copy whose tensors below ``prefix`` moved at random, by ``size`` of their own spread."""
    generator = torch.Generator().manual_seed(seed)
    moved = Codec(model.config)
    moved.load_state_dict(
        {
            name: tensor + size * spread(tensor) * torch.randn(tensor.shape, generator=generator)
            if name.startswith(prefix)
            else tensor
            for name, tensor in model.state_dict().items()
        }
    )
    return moved.eval().requires_grad_(False)


def spread(tensor: Tensor) -> Tensor:
    return tensor.std() + 0.01 if tensor.numel() > 1 else torch.tensor(0.1)


def save_branch(model: Codec, base: Codec, folder: Path) -> Path:
    """Save a model as the branch of another."""
    codec.save(model, folder)
    write_base(folder, base_of(base))
    return folder


def save_family(folder: Path, make: Callable[[], Codec] = make_tiny_model) -> tuple[Path, list[Path]]:
    """A base and two branches of it, with names ``base``, ``speech`` and ``music``."""
    base = make()
    codec.save(base, folder / "base")
    branches = [
        save_branch(nudge(base, seed), base, folder / name) for seed, name in ((1, "speech"), (2, "music"))
    ]
    return folder / "base", branches


def write_config(folder: Path, family: tuple[Path, list[Path]], recordings: Path, **changes: Any) -> Path:
    """A config of ``codec merge`` for a family, half of each branch; ``changes`` replace whole keys."""
    base, (speech, music) = family
    clips = {"manifests": [str(recordings)]}
    values = {
        "base": str(base),
        "models": [{"path": str(speech), "weight": 0.5}, {"path": str(music), "weight": 0.5}],
        "output_dir": str(folder / "merged"),
        "clips": clips,
        **changes,
    }
    path = folder / "merge.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def change(folder: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    """Change the tensors of a saved model in place."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")
