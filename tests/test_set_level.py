"""The recipe that sets a model's level: decibels are decibels, tokens stay, and rumble is what goes."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
import soundfile
import torch
from conftest import make_speech, make_tiny_model
from seanet_models import CAUSAL, make_seanet
from training_runs import write_corpus

import codec
from codec.cli.recipe import run_recipe
from codec.data import write_manifest
from codec.eval.training import Training, read_training, write_training
from codec.model.lineage import base_of, read_base, write_base

PATH = Path(__file__).parent.parent / "recipes" / "set_level.py"
RECIPE = runpy.run_path(str(PATH))


def change(*arguments):
    return run_recipe(RECIPE["LevelConfig"], RECIPE["main"], "doc", arguments=[str(item) for item in arguments])


def decoded(folder, wav):
    model = codec.load(folder)
    tokens = model.encode(wav)
    return tokens.codes, model.decode(tokens)


@pytest.fixture
def model(tmp_path):
    # Noise and drawn phases, whose levels have to rise alike; the postfilter and the bound of the gain have no part in it.
    net = make_tiny_model(noise_bands=8, noise_draw="gaussian", phase_from=0.25)
    net.decoder.backbone.out.bias[net.decoder.sizes[0] * 2 :] -= 3.0
    codec.save(net, tmp_path / "model")
    return f"model={tmp_path / 'model'}"


@pytest.mark.parametrize("gain_db", [3.0, -1.5])
def test_output_rises_by_as_many_decibels_and_tokens_stay(model, tmp_path, gain_db):
    wav = torch.from_numpy(make_speech(0.6))
    assert change(model, f"output={tmp_path / 'same'}", "gain_db=0") == 0
    assert change(model, f"output={tmp_path / 'changed'}", f"gain_db={gain_db}") == 0
    codes, before = decoded(tmp_path / "same", wav)
    again, after = decoded(tmp_path / "changed", wav)
    assert torch.equal(codes, again)
    assert codec.load(tmp_path / "same").fingerprint == codec.load(tmp_path / "changed").fingerprint
    # Weights are rounded to float16.
    torch.testing.assert_close(after, before * 10 ** (gain_db / 20), rtol=0.01, atol=0.003 * before.abs().max().item())


def test_levels_of_recordings_are_reached(model, tmp_path):
    manifest = write_corpus(tmp_path / "data")
    assert change(model, f"output={tmp_path / 'changed'}", f"manifest={manifest}", "rumble=0.5") == 0
    clips = RECIPE["read_manifest"](manifest)
    assert RECIPE["missing_level"](codec.load(tmp_path / "changed"), clips, 8.0) == pytest.approx(0.0, abs=0.05)


def test_silent_clips_do_not_count(model, tmp_path, capsys):
    manifest = write_corpus(tmp_path / "data")
    clips = RECIPE["read_manifest"](manifest)
    net = codec.load(tmp_path / "model")
    alone = RECIPE["missing_level"](net, clips, 8.0)
    soundfile.write(tmp_path / "data" / "silent.wav", torch.zeros(16_000).numpy(), 16_000)
    silent = replace(clips[0], path="silent.wav")
    assert RECIPE["missing_level"](net, [silent, *clips], 8.0) == pytest.approx(alone)
    write_manifest(tmp_path / "data" / "silent.jsonl", [silent])
    assert change(model, f"output={tmp_path / 'changed'}", f"manifest={tmp_path / 'data' / 'silent.jsonl'}") == 1
    assert "nothing but silence in 1 clips" in capsys.readouterr().err


def test_the_losses_that_mark_metrics_are_carried_over(model, tmp_path):
    change(model, f"output={tmp_path / 'unknown'}", "gain_db=1")
    assert read_training(tmp_path / "unknown") is None
    write_training(tmp_path / "model", Training(["loudness"]))
    change(model, f"output={tmp_path / 'changed'}", "gain_db=1")
    assert read_training(tmp_path / "changed") == Training(["loudness"])


def test_the_base_of_its_training_is_carried_over(model, tmp_path):
    change(model, f"output={tmp_path / 'unknown'}", "gain_db=1")
    assert read_base(tmp_path / "unknown") is None
    base = base_of(make_tiny_model())
    write_base(tmp_path / "model", base)
    change(model, f"output={tmp_path / 'changed'}", "gain_db=1")
    assert read_base(tmp_path / "changed") == base


def test_rumble_goes_and_the_rest_stays(model, tmp_path):
    wav = torch.from_numpy(make_speech(1.0))
    change(model, f"output={tmp_path / 'same'}", "gain_db=0")
    change(model, f"output={tmp_path / 'changed'}", "gain_db=0", "rumble=0")
    before, after = (decoded(tmp_path / name, wav)[1].flatten() for name in ("same", "changed"))
    powers = [torch.fft.rfft(out).abs().square() for out in (before, after)]
    hertz = torch.fft.rfftfreq(len(before), 1 / 16_000)
    low, high = hertz < 20, hertz > 100
    assert powers[1][low].sum() < 0.2 * powers[0][low].sum()
    assert powers[1][high].sum() == pytest.approx(powers[0][high].sum().item(), rel=0.05)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ([], "set manifest, whose levels"),
        (["gain_db=1", "manifest=m.jsonl"], "and not both"),
        (["gain_db=1", "rumble=-1"], "rumble -1 must lie between"),
        (["gain_db=1", "rumble=.nan"], "rumble nan must lie between"),
        (["gain_db=1", "rumble=.inf"], "rumble inf must lie between"),
        (["gain_db=.nan"], "gain_db nan must lie between"),
        (["gain_db=-200"], "gain_db -200 must lie between"),
        (["manifest=m.jsonl", "seconds=.nan"], "seconds nan must lie above 0"),
        (["manifest=m.jsonl", "seconds=.inf"], "seconds inf must lie above 0"),
        (["manifest=m.jsonl", "clips=0"], "clips 0 and seconds 8 must lie above 0"),
        (["manifest=m.jsonl", "root=nowhere"], "nowhere: no such folder"),
        (["manifest=nowhere.jsonl"], "nowhere.jsonl: no such manifest"),
    ],
)
def test_errors_are_one_line(model, tmp_path, capsys, arguments, message):
    assert change(model, f"output={tmp_path / 'changed'}", *arguments) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "changed").exists()


def test_a_model_that_is_there_already_is_left_alone(model, tmp_path, capsys):
    assert change(model, f"output={tmp_path / 'changed'}", "gain_db=1") == 0
    before = (tmp_path / "changed" / "model.safetensors").read_bytes()
    capsys.readouterr()
    assert change(model, f"output={tmp_path / 'changed'}", "gain_db=2") == 1
    assert "changed holds a model already; choose another output" in capsys.readouterr().err
    assert (tmp_path / "changed" / "model.safetensors").read_bytes() == before


def test_a_model_without_gains_is_refused(tmp_path, capsys):
    codec.save(make_seanet(CAUSAL), tmp_path / "seanet")
    assert change(f"model={tmp_path / 'seanet'}", f"output={tmp_path / 'changed'}", "gain_db=1") == 1
    assert "only the architecture spectral has" in capsys.readouterr().err
