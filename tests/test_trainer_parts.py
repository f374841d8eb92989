"""Hand-computed values of schedule, average and optimizer, and the trainer's refusals."""

import copy
import json
import math
import re

import pytest
import torch
import yaml
from command import run, run_ok
from torch import nn
from training_runs import RECONSTRUCTION, run_config, run_values, write_corpus

from codec.cli.train import expand_flags
from codec.config import from_dict, override, to_dict
from codec.errors import CodecError
from codec.model.config import CodecConfig
from codec.train.checkpoint import check_same_run
from codec.train.config import TrainConfig
from codec.train.logs import Meter, forget_after
from codec.train.objective import check_losses
from codec.train.optimizer import (
    Optimizer,
    OptimizerConfig,
    ScheduleConfig,
    WeightAverage,
    hidden_matrices,
    learning_rate_scale,
)
from codec.train.step import FiniteGuard
from codec.train.tasks.codec import CodecTask
from codec.train.trainer import Trainer

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this PyTorch has no Muon")


def test_learning_rate_warms_up_and_falls_to_its_floor():
    config = ScheduleConfig(warmup_steps=4, floor=0.2)
    scales = [learning_rate_scale(config, step, 12) for step in range(14)]
    assert scales[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert scales[8] == pytest.approx(0.6)
    assert scales[12:] == pytest.approx([0.2, 0.2])
    assert scales[5] == pytest.approx(0.2 + 0.4 * (1 + math.cos(math.pi / 8)))


def test_weight_average_by_hand():
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 1.0)
    average = WeightAverage(module, decay=0.5)
    nn.init.constant_(module.weight, 3.0)
    average.update(step=0)
    # In step 0 the decay is 1/10: 0.1 * 1 + 0.9 * 3.
    assert float(average.state_dict()["weight"]) == pytest.approx(2.8)
    average.update(step=10_000)
    assert float(average.state_dict()["weight"]) == pytest.approx(2.9)


def test_frozen_weights_are_averaged_bit_for_bit():
    module = nn.Linear(2, 1)
    nn.init.constant_(module.weight, -0.0).requires_grad_(False)
    nn.init.constant_(module.bias, -0.0)
    average = WeightAverage(module, decay=0.9)
    average.update(step=100)
    assert average.state_dict()["weight"].signbit().all() and "bias" in average.state_dict()
    module.requires_grad_(False)
    WeightAverage(module, decay=0.9).update(step=100)


def test_gradients_are_clipped_to_the_norm():
    weight = nn.Parameter(torch.zeros(2))
    optimizer = Optimizer([weight], OptimizerConfig(clip=1.0))
    weight.grad = torch.tensor([3.0, 4.0])
    assert float(optimizer.clip()) == pytest.approx(5.0)
    assert weight.grad.tolist() == pytest.approx([0.6, 0.8])


def test_muon_of_an_older_pytorch_is_refused(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(CodecError, match="muon needs PyTorch 2.9 or newer"):
        OptimizerConfig(name="muon")


@needs_muon
def test_muon_takes_hidden_matrices_and_adamw_the_rest():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    hidden = hidden_matrices(network)
    assert [tuple(parameter.shape) for parameter in hidden] == [(5, 4)]
    optimizer = Optimizer(network.parameters(), OptimizerConfig(name="muon", lr=0.1, weight_decay=0.0), hidden)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    network(torch.randn(6, 3)).square().sum().backward()
    left, _, right = torch.linalg.svd(torch.randn(5, 4), full_matrices=False)
    hidden[0].grad.copy_(left @ torch.diag(torch.tensor([1.0, 0.5, 0.2, 0.1])) @ right)
    optimizer.set_rate(1.0)
    optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    change = hidden[0].detach() - before[2]
    # The gradient's differ tenfold; orthogonalized they are of one size (Newton-Schulz: some 30 %).
    singular = torch.linalg.svdvals(change)
    assert singular.max() < 2.5 * singular.min()
    assert all(parameter.grad is None for parameter in network.parameters())


@needs_muon
def test_optimizer_state_round_trip():
    def trained(steps, optimizer, network):
        for step in range(steps):
            network(torch.full((2, 3), 1.0 + step)).square().sum().backward()
            optimizer.clip()
            optimizer.set_rate(1.0)
            optimizer.step()
        return optimizer

    def build():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 2))
        config = OptimizerConfig(name="muon")
        return Optimizer(network.parameters(), config, hidden_matrices(network)), network

    first, network = build()
    trained(3, first, network)
    second, copy = build()
    copy.load_state_dict(network.state_dict())
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    trained(2, first, network)
    trained(2, second, copy)
    for name, value in network.state_dict().items():
        assert torch.equal(value, copy.state_dict()[name]), name


def test_the_guard_names_what_went_bad_first():
    guard = FiniteGuard()
    good, bad = torch.tensor(1.0), torch.tensor(float("inf"))
    guard.watch({"mel": good, "stft": good}, step=6)
    guard.check()
    guard.watch({"mel": good, "stft": bad}, step=7)
    guard.watch({"mel": bad, "stft": bad}, step=8)
    with pytest.raises(CodecError, match=r"^step 7: stft became NaN or infinite"):
        guard.check()


def test_the_meter_averages_each_tag_over_its_own_steps():
    meter = Meter()
    meter.add({"a": torch.tensor(1.0), "b": torch.tensor(10.0)})
    meter.add({"a": torch.tensor(2.0)})
    assert meter.means() == {"a": 1.5, "b": 10.0}
    assert meter.means() == {}


def test_records_past_the_checkpoint_are_forgotten(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"step": 2}\n{"step": 4}\n{"step": 6}\n{"step":')
    forget_after(path, 4)
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [2, 4]


def test_flags_stand_for_overrides():
    given = ["--config", "a.yaml", "--resume", "--init-from", "runs/a", "lr=1", "--init-from=b"]
    assert expand_flags(given) == [
        "--config", "a.yaml", "resume=true", "init_from=runs/a", "lr=1", "init_from=b",
    ]  # fmt: skip


FREE_SETTINGS = {
    "output": "elsewhere", "resume": True, "init_from": "model", "max_steps": 9, "checkpoint_every": 7, "keep": 9,
    "log_every": 7, "sample_every": 7, "tracker": "tensorboard", "threads": 3, "compile": True, "cuda_graphs": True,
    "data.cache": "b", "data.root": "c", "data.workers": 5, "data.processes": 5, "data.prefetch": 9,
}  # fmt: skip


@pytest.mark.parametrize("key", FREE_SETTINGS)
def test_settings_of_place_and_pace_may_change_on_resume(tmp_path, key):
    saved, now = (to_dict(run_config(tmp_path, tmp_path / "a.jsonl")) for _ in range(2))
    override(now, key, FREE_SETTINGS[key])
    assert now != saved
    check_same_run(saved, now, "here", CodecTask.free_settings)


def test_every_other_setting_is_named_on_resume(tmp_path):
    saved = to_dict(run_config(tmp_path, tmp_path / "a.jsonl", freeze=["encoder"], resume=True))
    keys = [key for key in flatten(saved) if key not in FREE_SETTINGS]
    assert len(keys) > 60
    for key in keys:
        now = copy.deepcopy(saved)
        override(now, key, "changed")
        with pytest.raises(CodecError, match=f"here is of another run: {re.escape(key)} was .* is now 'changed'"):
            check_same_run(saved, now, "here", CodecTask.free_settings)


def flatten(values, prefix=""):
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


REFUSED = {
    "fp16": ({"precision": "fp16"}, "precision: fp16 overflows"),
    "precision": ({"precision": "int8"}, "none of bf16, fp32"),
    "no losses": ({"losses": {}}, "config losses: none given"),
    "no data": ({"data": {}}, r"config data\.manifests: none given"),
    "no discriminators": ({"discriminators": {}}, r"config losses\.adversarial: needs discriminators"),
    "idle discriminators": ({"losses": {"mel": {"weight": 1}}}, "config discriminators: nothing uses them"),
    "misspelled": ({"optimiser": {}}, "unknown key 'optimiser'; did you mean 'optimizer'"),
    "no steps": ({"max_steps": 0}, "config max_steps: expected at least 1"),
    "momentum": ({"optimizer": {"betas": [0.9]}}, "expected two numbers"),
}


@pytest.mark.parametrize("changes, message", REFUSED.values(), ids=REFUSED.keys())
def test_settings_that_are_refused(tmp_path, changes, message):
    with pytest.raises(CodecError, match=message):
        from_dict(TrainConfig, run_values(tmp_path, tmp_path / "train.jsonl", **changes))


UNBUILDABLE = {
    "loss": ({"losses": {"mell": {"weight": 1}}, "discriminators": {}}, "unknown loss 'mell'"),
    "weight": ({"losses": {"mel": {}}, "discriminators": {}}, r"config losses\.mel\.weight: expected"),
    "teacher": (
        {"losses": {"distill_lm": {"weight": 1}}, "discriminators": {}},
        "losses.distill_lm needs a teacher 'lm'",
    ),
    "features": ({"teachers": {"sm": {"features": "nowhere"}}}, "nowhere.sm: 4 of 4 clips have no features"),
    "teacher type": (
        {"teachers": {"sm": {"features": "nowhere", "extract": {"type": "sppech"}}}},
        "unknown teacher 'sppech'; did you mean 'speech'",
    ),
    "tracker": ({"tracker": "wandb"}, "wandb is not installed"),
}


@pytest.mark.parametrize("changes, message", UNBUILDABLE.values(), ids=UNBUILDABLE.keys())
def test_runs_that_are_refused_before_the_first_step(tmp_path, monkeypatch, changes, message):
    monkeypatch.setattr("codec.train.tasks.base.find_spec", lambda name: None)
    config = run_config(tmp_path, write_corpus(tmp_path / "data"), **changes)
    with pytest.raises(CodecError, match=message):
        Trainer(config)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "losses, message",
    [
        ({"mell": {"weight": 1}}, "unknown loss 'mell'"),
        ({"low_waveform": {"weight": 1, "min_codebooks": 99}}, "losses.low_waveform: min_codebooks must lie from 1 to"),
        ({"level": {"type": "band_power", "weight": 1, "above": 9000}}, "losses.level: no band"),
        ({"level": {"type": "band_power", "weight": 1, "band_hertz": 0}}, "losses.level: band_hertz must be 1 or more"),
        ({"level": {"type": "band_power", "weight": 1, "n_fft": [-5], "frames": [1]}}, "n_fft must be 16 or more"),
        ({"mel": {"weight": 1, "n_fft": [], "num_mels": []}}, "losses.mel: .* or are empty"),
        ({"mel": {"weight": 1, "hop_length": [0] * 5}}, "losses.mel: hop_length must be 1 or more"),
        ({"mel": {"weight": 1, "fmin": 5000, "fmax": 4000}}, "losses.mel: mel bands need 0 <= fmin < fmax"),
        ({"heard": {"type": "output_features", "weight": 1, "model": "nowhere"}}, "losses.heard: nowhere: "),
        ({"stft": {"weight": 1, "n_fft": [0]}}, "losses.stft: n_fft must be 16 or more"),
        ({"heard": {"type": "output_features", "weight": 1, "model": "nowhere", "crops": 0}}, "losses.heard: crops"),
        ({"distill_zz": {"weight": 1}}, "losses.distill_zz needs a teacher 'zz', configured: "),
        ({"forward": {"type": "mel", "weight": 1}}, "losses.forward: not a name for a loss"),
        ({"mel": {"weight": float("nan")}}, "losses.mel.weight: expected a number"),
    ],
)
def test_a_wrong_loss_is_found_before_data_is_read(tmp_path, losses, message):
    with pytest.raises(CodecError, match=message):
        Trainer(run_config(tmp_path, tmp_path / "nowhere.jsonl", losses=losses, discriminators={}))


def test_the_check_of_losses_draws_no_numbers_of_the_run():
    state = torch.get_rng_state()
    check_losses({"ctc": {"weight": 1.0}}, CodecConfig(), ())
    assert torch.equal(torch.get_rng_state(), state)


def test_a_missing_manifest_is_refused(tmp_path):
    with pytest.raises(CodecError, match=r"data.manifests: no such manifest or folder .*nowhere\.jsonl"):
        Trainer(run_config(tmp_path, tmp_path / "nowhere.jsonl", **RECONSTRUCTION))


def test_a_missing_root_is_refused(tmp_path):
    data = {"manifests": [str(write_corpus(tmp_path / "data"))], "root": str(tmp_path / "nowhere")}
    with pytest.raises(CodecError, match=r"data.root: no such folder .*nowhere; .* data.root=null"):
        Trainer(run_config(tmp_path, tmp_path, **RECONSTRUCTION | {"data": data}))


def test_a_shipped_config_says_which_settings_to_give(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    result = run(capfd, "train", "--config", "tiny")
    assert result.status == 1 and len(result.err.splitlines()) == 1
    assert "data.root=null data.manifests='[train.jsonl]'" in result.error_lines[0]
    assert not list(tmp_path.iterdir())


def test_a_run_shorter_than_its_interval_of_logs_says_what_it_did(tmp_path, capfd):
    values = run_values(tmp_path, write_corpus(tmp_path / "data"), **RECONSTRUCTION, max_steps=1, log_every=100)
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(values))
    lines = run_ok(capfd, "train", "--config", config).err.splitlines()
    assert any(line.startswith("step 1/1  total") for line in lines)
    assert lines[-1] == f"{tmp_path / 'run' / 'export'}: the model after 1 step"
