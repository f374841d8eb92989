"""Exact resume and safe checkpoints."""

import dataclasses
import errno

import pytest
import torch
from training_runs import RECONSTRUCTION, run_config, run_values, write_corpus, write_features

from codec.config import to_dict
from codec.errors import CodecError
from codec.train.checkpoint import (
    Checkpoint,
    list_checkpoints,
    read_checkpoint,
    read_latest,
    write_checkpoint,
)
from codec.train.trainer import Trainer

HALF = 5


@pytest.fixture
def manifest(tmp_path):
    return write_corpus(tmp_path / "data")


# PyTorch has Muon from 2.9 on.
MUON = "muon" if hasattr(torch.optim, "Muon") else "adamw"
VARIANTS = {
    "adamw": {},
    "muon and balancer": {
        "optimizer": {"name": MUON},
        "balancer": {},
        "adversary": {"start_step": 1, "every": 2, "kind": "relativistic", "gradient_penalty": 0.1},
    },
    "bf16": {"precision": "bf16"},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS.keys())
def test_twice_n_steps_are_n_and_resume_and_n_bit_for_bit(tmp_path, manifest, changes):
    write_features(tmp_path / "features", manifest, "sm")
    base = run_values(tmp_path, manifest)
    base["losses"]["adversarial"]["kind"] = changes.get("adversary", {}).get("kind", "hinge")
    config = run_config(
        tmp_path,
        manifest,
        max_steps=2 * HALF,
        teachers={"sm": {"features": str(tmp_path / "features")}},
        losses={**base["losses"], "distill_sm": {"weight": 1.0, "standardize": True}},
        **changes,
    )
    straight = Trainer(config)
    straight.run()
    parts_dir = str(tmp_path / "parts")
    Trainer(dataclasses.replace(config, output=parts_dir)).run(until=HALF)
    # Draws made in between must not matter.
    torch.manual_seed(99)
    resumed = Trainer(dataclasses.replace(config, output=parts_dir, resume=True))
    assert resumed.step == HALF
    resumed.run()
    one = read_checkpoint(list_checkpoints(straight.checkpoints)[-1])
    two = read_checkpoint(list_checkpoints(resumed.checkpoints)[-1])
    assert one.step == two.step == 2 * HALF
    assert one.parts.keys() == two.parts.keys()
    count = 0
    for part, tensors in one.parts.items():
        assert tensors.keys() == two.parts[part].keys()
        for name, value in tensors.items():
            assert torch.equal(value, two.parts[part][name]), f"{part}: {name}"
            count += 1
    moved = {"generator", "average", "objective", "optimizer", "discriminators", "discriminator_optimizer"}
    assert moved <= one.parts.keys() and count > 100
    first = read_checkpoint(list_checkpoints(resumed.checkpoints)[0])
    assert first.step == HALF
    for part in moved:
        changed = [n for n, v in first.parts[part].items() if not torch.equal(v, two.parts[part][n])]
        assert changed, f"{part} did not change in the second half, so its equality shows nothing"


def test_the_log_goes_on_without_repeats(tmp_path, manifest):
    config = run_config(tmp_path, manifest, checkpoint_every=4, **RECONSTRUCTION)
    trainer = Trainer(config)
    trainer.run(until=7)
    newest = list_checkpoints(trainer.checkpoints)[-1]
    # As after a crash in step 7: the last checkpoint is that of step 4, the log goes to step 6.
    (newest / "manifest.json").unlink()
    resumed = Trainer(dataclasses.replace(config, resume=True))
    assert resumed.step == 4
    resumed.run()
    steps = [line.split(",")[0] for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert steps == ['{"step": 2', '{"step": 4', '{"step": 6', '{"step": 8']


def test_resume_without_a_checkpoint_starts(tmp_path, manifest):
    config = run_config(tmp_path, manifest, resume=True, max_steps=1, **RECONSTRUCTION)
    assert Trainer(config).run().step == 1


def test_resume_with_another_config_is_refused(tmp_path, manifest):
    config = run_config(tmp_path, manifest, max_steps=2, **RECONSTRUCTION)
    Trainer(config).run()
    values = to_dict(config)
    values["optimizer"]["lr"] = 0.5
    changed = run_config(
        tmp_path, manifest, max_steps=4, resume=True, optimizer={"lr": 0.5}, **RECONSTRUCTION
    )
    with pytest.raises(CodecError, match=r"is of another run: optimizer\.lr was 0\.0005 and is now 0\.5"):
        Trainer(changed)


def test_resume_on_other_data_is_refused(tmp_path, manifest):
    config = run_config(tmp_path, manifest, max_steps=2, **RECONSTRUCTION)
    Trainer(config).run()
    write_corpus(tmp_path / "data", (1.0, 0.8, 1.3))
    with pytest.raises(CodecError, match="data_found.clips was 4 and is now 3"):
        Trainer(dataclasses.replace(config, resume=True))


def toy(step: int) -> Checkpoint:
    return Checkpoint(step, {"a": {"x": torch.full((1000,), float(step))}}, {"note": step})


def test_checkpoint_round_trip_and_keep(tmp_path):
    for step in (1, 2, 10, 3):
        write_checkpoint(tmp_path, toy(step), keep=3)
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "step-00000002",
        "step-00000003",
        "step-00000010",
    ]
    newest = read_latest(tmp_path, warn=pytest.fail)
    assert (newest.step, newest.meta) == (10, {"note": 10})
    assert torch.equal(newest.parts["a"]["x"], toy(10).parts["a"]["x"])


@pytest.mark.parametrize("name", ["a.safetensors", "meta.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_a_damaged_checkpoint_is_passed_over_with_a_word(tmp_path, name, damage):
    for step in (1, 2):
        write_checkpoint(tmp_path, toy(step), keep=3)
    path = tmp_path / "step-00000002" / name
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(bytes(data) if damage == "flip" else bytes(data[:-9]))
    lines = []
    assert read_latest(tmp_path, lines.append).step == 1
    assert len(lines) == 1
    assert "step-00000002" in lines[0] and "damaged" in lines[0] and "trying the one before" in lines[0]


def test_when_all_checkpoints_are_damaged_it_says_so(tmp_path):
    write_checkpoint(tmp_path, toy(1), keep=3)
    (tmp_path / "step-00000001" / "a.safetensors").write_bytes(b"")
    with pytest.raises(CodecError, match="all 1 checkpoints are damaged"):
        read_latest(tmp_path, lambda line: None)


def test_a_checkpoint_that_was_being_written_does_not_count(tmp_path):
    write_checkpoint(tmp_path, toy(1), keep=3)
    (tmp_path / ".0123456789abcdef.part").mkdir()
    assert read_latest(tmp_path, pytest.fail).step == 1
    write_checkpoint(tmp_path, toy(2), keep=3)
    assert read_latest(tmp_path, pytest.fail).step == 2


def fill_disk(monkeypatch) -> None:
    def save_file(tensors, path):
        path.write_bytes(b"part of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("codec.train.checkpoint.save_file", save_file)


def test_a_full_disk_is_named_and_the_last_good_checkpoint_stays(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, toy(1), keep=1)
    fill_disk(monkeypatch)
    with pytest.raises(CodecError, match=r"the disk is full.*the last good one is step-00000001"):
        write_checkpoint(tmp_path, toy(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert read_latest(tmp_path, pytest.fail).step == 1


def test_a_full_disk_midway_does_not_end_the_run_but_at_the_end_it_is_an_error(
    tmp_path, manifest, monkeypatch, capsys
):
    config = run_config(tmp_path, manifest, checkpoint_every=2, max_steps=6, **RECONSTRUCTION)
    Trainer(config).run(until=2)
    resumed = Trainer(dataclasses.replace(config, resume=True))
    fill_disk(monkeypatch)
    with pytest.raises(CodecError, match="the disk is full"):
        resumed.run()
    assert resumed.step == 6
    assert "training continues" in capsys.readouterr().err
    assert read_latest(resumed.checkpoints, pytest.fail).step == 2
