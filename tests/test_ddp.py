"""Two processes (gloo, CPU) hold the same codebooks, and train as one does on the same global batch."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ddp_worker import train
from safetensors.torch import load_file
from training_runs import RECONSTRUCTION, run_config, run_values, write_corpus, write_features

from codec.errors import CodecError
from codec.train.build import build_run

WORKER = Path(__file__).with_name("ddp_worker.py")


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def start(folder: Path, values: dict, rank: int, port: int) -> subprocess.Popen:
    """One of two processes."""
    config = folder / "config.json"
    config.write_text(json.dumps(values))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    command = [sys.executable, str(WORKER), str(config), str(folder / f"{rank}.safetensors")]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_agree_with_each_other_and_with_one(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    write_features(tmp_path / "features", manifest, "sm")
    losses = run_values(tmp_path, manifest)["losses"]
    # Normalised feature matching is a ratio of means, which each process takes over its own crops.
    losses["feature_matching"]["normalize"] = False
    values = run_values(
        tmp_path,
        manifest,
        quantizer={
            "init_steps": 2, "init_vectors": 160, "kmeans_iterations": 2, "revive_every": 2, "dropout": 0.0,
        },
        teachers={"sm": {"features": str(tmp_path / "features")}},
        losses={**losses, "distill_sm": {"weight": 1.0, "standardize": True}},
        balancer={},
        adversary={"start_step": 1},
        # Some gradients are zero but for rounding, and a small eps would make whole steps of that.
        optimizer={"eps": 1e-4},
        max_steps=6,
    )  # fmt: skip
    port = free_port()
    running = [start(tmp_path, values, rank, port) for rank in range(2)]
    own_cache = {**values["data"], "cache": str(tmp_path / "cache_alone")}
    alone = train({**values, "output": str(tmp_path / "alone"), "data": own_cache})
    for process in running:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    codebooks = "generator.codec.quantizer.codebooks"
    assert first[codebooks].abs().sum() > 0
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
    for name, value in alone.items():
        assert torch.allclose(first[name], value, atol=1e-5, rtol=1e-5), name


def test_two_processes_agree_where_no_loss_has_weights(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    values = run_values(tmp_path, manifest, max_steps=2, **RECONSTRUCTION)
    port = free_port()
    running = [start(tmp_path, values, rank, port) for rank in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=500)
        assert process.returncode == 0, errors
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    class ThreeProcesses:
        num_processes = 3

    config = run_config(tmp_path, write_corpus(tmp_path / "data"))
    with pytest.raises(CodecError, match="4 crops cannot be shared evenly by 3 processes"):
        build_run(config, ThreeProcesses())
