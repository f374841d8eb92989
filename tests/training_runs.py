"""A tiny training run on generated audio, for the trainer's tests."""

import json
from pathlib import Path
from typing import Any

import soundfile
import torch
from conftest import TINY_CONFIG, make_speech

from codec.config import from_dict
from codec.data.manifest import read_manifest
from codec.teachers.features import FeatureCache, FeatureInfo
from codec.teachers.features.cache import ClipFeatures
from codec.train.config import TrainConfig

HOP = 320


def write_corpus(folder: Path, seconds: tuple[float, ...] = (1.0, 0.8, 1.3, 0.9), **fields: Any) -> Path:
    """Wav files and their manifest; ``fields`` go into every line."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, length in enumerate(seconds):
        name = f"clip{number}.wav"
        soundfile.write(folder / name, make_speech(length, seed=number), 16_000)
        lines.append(json.dumps({"path": name, "seconds": length, **fields}))
    manifest = folder / "train.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def write_features(folder: Path, manifest: Path, name: str, level: str = "frame") -> None:
    """Features of a toy teacher: noise, 50 Hz or one vector a clip."""
    info = FeatureInfo("toy", "last", 50.0, 0.01, "speech", 6, level)
    generator = torch.Generator().manual_seed(0)
    for clip in read_manifest(manifest):
        frames = torch.randn(int(clip.seconds * 50) if level == "frame" else 1, 6, generator=generator)
        features = ClipFeatures(frames, torch.ones(len(frames), dtype=torch.bool))
        FeatureCache(folder, name).write(clip, features, info)


def run_values(folder: Path, manifest: Path, **changes: Any) -> dict[str, Any]:
    """Plain settings of a run of a few steps, with discriminators; ``changes`` replace whole keys."""
    values = {
        "output": str(folder / "run"),
        "model": {**TINY_CONFIG, "quantizer": {"num_codebooks": 2, "codebook_size": 8}},
        "quantizer": {"init_steps": 2, "init_vectors": 64, "kmeans_iterations": 2, "revive_every": 3},
        "data": {
            "manifests": [str(manifest)],
            "cache": str(folder / "cache"),
            "crop_frames": 20,
            "batch_size": 4,
        },
        "losses": {
            "waveform": {"weight": 1.0},
            "mel": {"weight": 1.0, "n_fft": [256], "num_mels": [20]},
            "commitment": {"weight": 0.1},
            "adversarial": {"weight": 0.1},
            "feature_matching": {"weight": 0.1},
        },
        "discriminators": {"multiband": {"n_fft": [256], "width": 4}},
        "adversary": {"start_step": 3},
        "schedule": {"warmup_steps": 2},
        "precision": "fp32",
        "max_steps": 8,
        "checkpoint_every": 100,
        "log_every": 2,
        "sample_every": 0,
        "tracker": "none",
    }
    return {**values, **changes}


def run_config(folder: Path, manifest: Path, **changes: Any) -> TrainConfig:
    """:func:`run_values` as a config."""
    return from_dict(TrainConfig, run_values(folder, manifest, **changes))


RECONSTRUCTION = {
    "losses": {
        "waveform": {"weight": 1.0},
        "mel": {"weight": 1.0, "n_fft": [256], "num_mels": [20]},
        "commitment": {"weight": 0.1},
    },
    "discriminators": {},
}
"""Changes for a run without discriminators."""
