"""Training on a GPU: recorded steps are the steps that were recorded; settings that cannot be are refused."""

import json
from pathlib import Path

import pytest
import torch
from training_runs import run_config, write_corpus

from codec.errors import CodecError
from codec.train.recorded import RecordedStep
from codec.train.trainer import Trainer

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def train(folder: Path, manifest: Path, **changes) -> tuple[Trainer, list[dict]]:
    config = run_config(
        folder, manifest, max_steps=40, log_every=4, adversary={"start_step": 12, "every": 2}, **changes
    )
    trainer = Trainer(config)
    trainer.run()
    lines = Path(config.output, "log.jsonl").read_text().splitlines()
    return trainer, [json.loads(line) for line in lines]


@needs_cuda
def test_a_recorded_run_is_the_ordinary_one(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    quantizer = {"init_steps": 2, "init_vectors": 64, "kmeans_iterations": 2, "revive_every": 5}
    plain, expected = train(tmp_path / "plain", manifest, quantizer=quantizer)
    recorded, found = train(tmp_path / "recorded", manifest, quantizer=quantizer, cuda_graphs=True)
    step = recorded.task.parts.train_step
    assert isinstance(step, RecordedStep)
    # Without discriminators, with them, and with them but not their turn.
    assert len(step._recordings) == 3
    names = ("total", "mel", "waveform", "adversarial", "feature_matching", "discriminator")
    for before, after in zip(expected, found, strict=True):
        assert before.keys() == after.keys()
        for name in names:
            if name in before:
                assert after[name] == pytest.approx(before[name], rel=0.1, abs=0.01), (name, before["step"])
    moved = [
        torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0)
        for a, b in zip(
            plain.task.parts.state.generator.parameters(), recorded.task.parts.state.generator.parameters(), strict=True
        )
        if a.numel() > 100
    ]
    assert min(moved) > 0.99


@needs_cuda
def test_a_recorded_run_resumes_as_an_ordinary_one(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    config = run_config(tmp_path, manifest, max_steps=30, cuda_graphs=True)
    Trainer(config).run(until=20)
    resumed = Trainer(run_config(tmp_path, manifest, max_steps=30, resume=True))
    assert resumed.step == 20
    assert resumed.run().step == 30


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_recording_needs_a_gpu(tmp_path):
    config = run_config(tmp_path, write_corpus(tmp_path / "data"), cuda_graphs=True)
    with pytest.raises(CodecError, match="cuda_graphs: needs one process on a CUDA device, found 1 on cpu"):
        Trainer(config)


def test_what_cannot_be_recorded_is_refused(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    for changes in ({"balancer": {}}, {"optimizer": {"name": "muon"}}):
        with pytest.raises(CodecError, match="cuda_graphs: works with adamw and without a balancer"):
            run_config(tmp_path, manifest, cuda_graphs=True, **changes)


def test_processes_may_make_the_batches(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    config = run_config(tmp_path, manifest, data={**_data(manifest, tmp_path), "processes": 2}, max_steps=3)
    assert Trainer(config).run().step == 3


def _data(manifest: Path, folder: Path) -> dict:
    return {"manifests": [str(manifest)], "cache": str(folder / "cache"), "crop_frames": 20, "batch_size": 4}
