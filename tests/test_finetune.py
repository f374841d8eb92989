"""Fine-tuning: the decoder learns, tokens stay, and what became of the sound is said."""

import json

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_speech, make_tiny_model

import codec
from codec.cli import main
from codec.train.trainer import Trainer

SHORT = ["max_steps=4", "checkpoint_every=2", "data.batch_size=2", "data.crop_frames=24", "precision=fp32"]


@pytest.fixture(scope="module")
def voice(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voice")
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", make_speech(1.0, seed=number), 16_000)
    return folder


@pytest.fixture(scope="module", params=[0, 6], ids=["plain", "noise"])
def model_dir(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    codec.save(make_tiny_model(noise_bands=request.param), folder)
    return folder


def test_tokens_stay_and_the_decoder_does_not(voice, model_dir, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["finetune", str(model_dir), str(voice), "--out", str(out), *SHORT]) == 0
    before, after = codec.load(model_dir, device="cpu"), codec.load(out / "export", device="cpu")
    wav = make_speech(0.7, seed=9)
    tokens = before.encode(wav)
    assert after.fingerprint == before.fingerprint and torch.equal(after.encode(wav).codes, tokens.codes)
    assert not torch.equal(after.decode(tokens), before.decode(tokens))
    for name, tensor in before.state_dict().items():
        if not name.startswith("decoder."):
            assert torch.equal(after.state_dict()[name], tensor), name
    found = json.loads((out / "finetune.json").read_text())
    assert found["before"].keys() == found["after"].keys() and found["after"]["mel_clips"] == 1
    said = capsys.readouterr()
    assert "2 clips to train on, 1 kept aside" in said.err and "before" in said.out


def test_a_run_that_was_stopped_resumes_to_the_same_model(voice, model_dir, tmp_path, monkeypatch):
    command = ["finetune", str(model_dir), str(voice), *SHORT]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    run = Trainer.run
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "run", lambda self: run(self, until=2))
        assert main([*command, "--out", str(tmp_path / "parts")]) == 0
    assert main([*command, "--out", str(tmp_path / "parts")]) == 0
    whole, parts = (codec.load(tmp_path / name / "export", device="cpu") for name in ("whole", "parts"))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


@pytest.mark.parametrize("count", [0, 1])
def test_too_little_data_is_an_error_before_work(model_dir, tmp_path, count, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "noise.wav").write_bytes(b"no sound")
    for number in range(count):
        soundfile.write(folder / f"{number}.wav", np.zeros(16_000, np.float32) + 0.1, 16_000)
    assert main(["finetune", str(model_dir), str(folder), "--out", str(tmp_path / "run")]) == 1
    assert "fine-tuning needs two or more" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
