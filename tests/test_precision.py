"""Settings that make a CPU without instructions for bfloat16 slow are named before the work starts."""

import copy
import dataclasses

import torch
import yaml
from training_runs import run_config, write_corpus

from codec import precision
from codec.config import override
from codec.precision import bf16_slowdown, warn_of_slow_bf16, warn_of_slow_variants
from codec.train.tasks.codec import CodecTask
from codec.train.trainer import Trainer

SETTINGS = {
    "precision": "bf16",
    "bf16": True,
    "losses": {"words": {"precision": "bf16", "weight": 1.0}, "mel": {"precision": "fp32"}},
    "teachers": {"sm": {"options": {"dtype": "bfloat16", "layers": [1, 2]}}, "lm": None},
    "title": "bf16",
}


def slow(monkeypatch, ratio):
    monkeypatch.setattr(precision, "bf16_slowdown", lambda: ratio)


def test_the_changes_that_are_named_leave_nothing_to_name(monkeypatch, capsys):
    slow(monkeypatch, 90.0)
    warn_of_slow_bf16(SETTINGS)
    line = capsys.readouterr().err
    start, _, changes = line.partition("; set ")
    assert start == "warning: this CPU computes bf16 90 times as slowly as float32"
    keys = ["precision", "bf16", "losses.words.precision", "teachers.sm.options.dtype"]
    assert [change.split("=")[0] for change in changes.split()] == keys
    changed = copy.deepcopy(SETTINGS)
    for change in changes.split():
        key, value = change.split("=")
        override(changed, key, yaml.safe_load(value))
    warn_of_slow_bf16(changed)
    assert capsys.readouterr().err == ""


def test_a_comparison_is_told_by_its_own_keys(monkeypatch, capsys):
    slow(monkeypatch, 90.0)
    words = {"losses": {"words": {"precision": "bf16"}}}
    warn_of_slow_variants([("none", {"precision": "bf16"}), ("words", {"precision": "bf16", **words}), ("none", {"precision": "bf16"})])
    assert capsys.readouterr().err.partition("; set ")[2].split() == [
        "overrides.precision=fp32",
        "variants.words.losses.words.precision=fp32",
    ]
    warn_of_slow_variants([("none", {"precision": "fp32"})])
    warn_of_slow_variants([])
    assert capsys.readouterr().err == ""


def test_a_processor_with_instructions_for_it_is_left_alone(monkeypatch, capsys):
    slow(monkeypatch, 0.4)
    warn_of_slow_bf16(SETTINGS)
    assert capsys.readouterr().err == ""


def test_no_measurement_where_nothing_asks_for_bf16(monkeypatch, capsys):
    def measured():
        raise AssertionError("measured")

    monkeypatch.setattr(precision, "bf16_slowdown", measured)
    warn_of_slow_bf16({"precision": "fp32", "bf16": False, "dtype": "float32"})
    assert capsys.readouterr().err == ""


def test_the_ratio_is_measured_without_drawing_random_numbers():
    before = torch.get_rng_state()
    bf16_slowdown.cache_clear()
    assert bf16_slowdown() > 0
    assert torch.equal(before, torch.get_rng_state())


def test_defaults_of_losses_count(tmp_path):
    losses = {"heard": {"type": "output_features", "weight": 2.0, "model": "some"}, "mel": {"weight": 1.0}}
    config = run_config(tmp_path, write_corpus(tmp_path / "data"), losses=losses, discriminators={})
    found = CodecTask.settings(config)["losses"]
    assert found["heard"]["precision"] == "bf16"
    assert found["heard"]["model"] == "some"


def test_a_run_names_them(tmp_path, monkeypatch, capsys):
    slow(monkeypatch, 90.0)
    manifest = write_corpus(tmp_path / "data")
    Trainer(run_config(tmp_path, manifest, precision="bf16"))
    assert "warning: this CPU computes bf16 90 times as slowly as float32; set precision=fp32\n" in capsys.readouterr().err
    Trainer(run_config(tmp_path, manifest, precision="fp32"))
    assert "bf16" not in capsys.readouterr().err


def test_a_resumed_run_is_not_told_to_change_what_it_has_to_keep(tmp_path, monkeypatch, capsys):
    slow(monkeypatch, 90.0)
    begun = run_config(tmp_path, write_corpus(tmp_path / "data"), precision="bf16", max_steps=1)
    Trainer(begun).run()
    capsys.readouterr()
    Trainer(dataclasses.replace(begun, resume=True))
    line = capsys.readouterr().err
    assert "as float32; a resumed run keeps it, and a new one may set precision=fp32\n" in line
