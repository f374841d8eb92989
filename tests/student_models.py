"""A trunk that is small enough for tests, and a tiny distillation on generated audio."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import nn

from codec.config import from_dict
from codec.data import read_manifest
from codec.distilling.config import EmbeddingConfig
from codec.students.blocks import ConvNorm, InvertedResidual
from codec.students.config import StudentConfig
from codec.students.student import Student
from codec.students.trunks import TRUNKS, trunk
from codec.teachers.features import FeatureCache, FeatureInfo
from codec.teachers.features.cache import ClipFeatures

RATE = 4_000
FRONT = {"sample_rate": RATE, "n_fft": 128, "hop_length": 64, "num_mels": 16, "fmin": 0.0}


@trunk("tiny")
class TinyTrunk(nn.Sequential):
    """Three layers, whatever the size."""

    dim = 12

    def __init__(self, size: str, num_mels: int):
        del size, num_mels
        super().__init__(
            ConvNorm(1, 8, 3, stride=2),
            InvertedResidual(8, 8, 16, 3, 1, gated=True),
            ConvNorm(8, 12, 3, stride=2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


assert "tiny" in TRUNKS


def tiny_student(seed: int = 0) -> Student:
    """An untrained student that hears about a second at once."""
    torch.manual_seed(seed)
    return Student(from_dict(StudentConfig, tiny_values())).eval()


def tiny_values() -> dict[str, Any]:
    return {"architecture": "tiny", "seconds": 1.024, "front": FRONT}


KINDS = 4


def write_kinds(folder: Path, counts: tuple[int, ...] = (12, 12, 12, 12)) -> Path:
    """Clips of a few kinds of audio, ``counts[k]`` of kind k (a tone in noise, of its own pitch), and a manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    rng, lines = np.random.default_rng(0), []
    for kind, count in enumerate(counts):
        for number in range(count):
            seconds = float(rng.uniform(0.8, 1.6))
            times = np.arange(round(seconds * RATE)) / RATE
            tone = 0.2 * np.sin(2 * np.pi * 200 * 1.7**kind * times + rng.uniform(0, 6))
            name = f"k{kind}n{number}.wav"
            soundfile.write(folder / name, tone + 0.02 * rng.standard_normal(len(times)), RATE)
            lines.append(json.dumps({"path": name, "seconds": seconds, "label": f"kind{kind}"}))
    # Kinds take turns, so that every part of the list has all of them.
    order = np.random.default_rng(1).permutation(len(lines))
    manifest = folder / "train.jsonl"
    manifest.write_text("\n".join(lines[i] for i in order) + "\n")
    return manifest


def write_vectors(folder: Path, manifest: Path, name: str = "toy", dim: int = 6, shuffled: bool = False) -> None:
    """A planted teacher: one direction for each kind, little noise, and an offset that all clips share.

    ``shuffled`` gives clips each other's vectors: nothing is left to learn.
    """
    generator = torch.Generator().manual_seed(0)
    means = 2 * torch.randn(KINDS, dim, generator=generator)
    clips = read_manifest(manifest)
    order = torch.randperm(len(clips), generator=generator).tolist() if shuffled else range(len(clips))
    info = FeatureInfo("toy", "last", 0.0, 0.0, "toy mean", dim, "clip")
    for clip, other in zip(clips, order, strict=True):
        kind = int(clips[other].label.removeprefix("kind"))
        vector = 5.0 + means[kind] + 0.1 * torch.randn(dim, generator=generator)
        features = ClipFeatures(vector[None], torch.ones(1, dtype=torch.bool))
        FeatureCache(folder, name).write(clip, features, info)


def distill_values(folder: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    """Plain settings of a distillation of a few steps; ``changes`` replace whole keys."""
    values = {
        "task": "embedding",
        "output": str(folder / "run"),
        "student": tiny_values(),
        "head": {"hidden": 8, "dropout": 0.1},
        "data": {
            "manifests": [str(manifest)],
            "cache": str(folder / "cache"),
            "held_out": 8,
            "batch_size": 8,
        },
        "teacher": {"features": str(folder / "features"), "name": "toy"},
        "clusters": {"num_clusters": 4, "min_size": 2},
        "optimizer": {"lr": 1e-2, "betas": [0.9, 0.999]},
        "schedule": {"warmup_steps": 2},
        "ema_decay": 0.9,
        "max_steps": 8,
        "checkpoint_every": 100,
        "log_every": 4,
        "sample_every": 0,
        "tracker": "none",
    }
    return {**values, **changes}


def distill_config(folder: Path, manifest: Path, **changes: Any) -> EmbeddingConfig:
    """:func:`distill_values` as a config."""
    return from_dict(EmbeddingConfig, distill_values(folder, manifest, **changes))
