"""Fine-tuning: the decoder learns, tokens stay, and what became of the sound is said."""

import dataclasses
import json
import signal

import numpy as np
import pytest
import soundfile
import torch
from conftest import TINY_CONFIG, make_speech, make_tiny_model
from seanet_models import CAUSAL, make_seanet

import codec
from codec.cli import main
from codec.config import from_dict
from codec.data import Clip, read_manifest, write_manifest
from codec.model.aliases import Aliases
from codec.model.config import CodecConfig
from codec.train.generator import Generator
from codec.train.quantizers import QuantizerTrainingConfig
from codec.train.trainer import Trainer

SHORT = ["max_steps=4", "checkpoint_every=2", "data.batch_size=2", "data.crop_frames=24", "precision=fp32", "log_every=2"]


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
    assert not any(key.startswith(("usage", "perplexity")) for key in last_record(out))
    assert "2 clips to train on, 1 held out" in said.err and "before" in said.out


def test_the_paths_of_a_manifest_begin_in_the_root_that_is_set(voice, model_dir, tmp_path):
    manifest = tmp_path / "voice.jsonl"
    write_manifest(manifest, [Clip(path=path.name, seconds=1.0) for path in sorted(voice.iterdir())])
    arguments = ["finetune", str(model_dir), str(manifest), "--out", str(tmp_path / "run"), *SHORT, "max_steps=1"]
    assert main([*arguments, f"data.root={voice}"]) == 0
    assert all(clip.audio.parent == voice for clip in read_manifest(tmp_path / "run" / "train.jsonl"))


def last_record(out):
    return json.loads((out / "log.jsonl").read_text().splitlines()[-1])


QUANTIZERS = {
    "projected": {"num_codebooks": 2, "codebook_size": 8, "dim": 4, "normalise": True},
    "split": {"type": "split_rvq", "num_codebooks": 3, "codebook_size": 8, "dim": 4},
    "fsq": {"type": "fsq", "levels": [5, 4, 3]},
}


@pytest.fixture(params=[*QUANTIZERS, "seanet"])
def other(request, tmp_path):
    """A model of another kind, whose codes vary."""
    if request.param == "seanet":
        model = make_seanet(CAUSAL)
    else:
        torch.manual_seed(3)
        model = codec.Codec(from_dict(CodecConfig, TINY_CONFIG | {"quantizer": QUANTIZERS[request.param]}))
        for tensor in model.requires_grad_(False).quantizer.state_dict().values():
            tensor.normal_(std=0.3)
    codec.save(model.eval(), tmp_path / "other")
    return tmp_path / "other"


def test_every_kind_of_encoder_and_quantizer_can_be_frozen(voice, other, tmp_path):
    out = tmp_path / "run"
    assert main(["finetune", str(other), str(voice), "--out", str(out), *SHORT, "precision=bf16"]) == 0
    before, after = codec.load(other, device="cpu"), codec.load(out / "export", device="cpu")
    tokens = before.encode(make_speech(0.7, seed=9))
    assert len(tokens.codes.unique()) > 3 and after.fingerprint == before.fingerprint
    assert torch.equal(after.encode(make_speech(0.7, seed=9)).codes, tokens.codes)
    assert not torch.equal(after.decode(tokens), before.decode(tokens))


def test_a_frozen_encoder_gives_in_bf16_the_codes_that_users_get():
    model = make_tiny_model()
    generator = Generator(model, QuantizerTrainingConfig(dropout=0.0), torch.bfloat16)
    generator.quantizer.adopt_codebooks()
    wav = torch.from_numpy(make_speech(2.0))[None, : 100 * 320]
    mask = torch.ones(1, 100, dtype=torch.bool)
    learning = generator.train()(wav, mask, 0).quantizer.latent
    generator.freeze(("encoder", "quantizer"))
    frozen = generator.train()(wav, mask, 0).quantizer
    assert not model.encoder.training and not frozen.latent.requires_grad
    assert torch.equal(frozen.latent, model.encoder(wav)[0]) and not torch.equal(frozen.latent, learning)


def test_the_model_keeps_its_former_names_and_tells_the_losses_of_both(voice, tmp_path, capsys):
    model = make_tiny_model()
    model.aliases = Aliases(model.fingerprint, ("0123456789abcdef",))
    codec.save(model, tmp_path / "model")
    (tmp_path / "model" / "training.json").write_text('{"losses": ["loudness"]}')
    out, losses = tmp_path / "run", "losses={again: {type: mel, weight: 1.0, n_fft: [256], num_mels: [20]}}"
    assert main(["finetune", str(tmp_path / "model"), str(voice), "--out", str(out), *SHORT, losses]) == 0
    assert codec.load(out / "export", device="cpu").aliases == model.aliases
    assert json.loads((out / "export" / "training.json").read_text()) == {"losses": ["loudness", "mel"]}
    shown = capsys.readouterr().out
    assert "mel distance *" in shown and "STOI *" not in shown


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_a_run_that_was_stopped_reports_nothing(
    voice, model_dir, tmp_path, monkeypatch, number, status, capsys
):
    run = Trainer.run
    monkeypatch.setattr(Trainer, "run", lambda self: dataclasses.replace(run(self, until=2), signal=number))
    out = tmp_path / "run"
    assert main(["finetune", str(model_dir), str(voice), "--out", str(out), *SHORT]) == status
    assert "the same command resumes" in capsys.readouterr().err and not (out / "finetune.json").exists()


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


@pytest.mark.parametrize("wrong", ["losses.nosuch.weight=1", "losses.mel.nosuch=1", "nosuch=1"])
def test_a_wrong_setting_is_an_error_before_work(voice, model_dir, tmp_path, wrong, capsys):
    assert main(["finetune", str(model_dir), str(voice), wrong, "--out", str(tmp_path / "run")]) == 1
    assert "nosuch" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
