"""The training recipes as commands: configs that parse, help that lists keys, runs end to end."""

import json
import runpy

import pytest
import torch
from conftest import make_speech
from recipe_modules import RECIPES
from tiny_teachers import save_bert, save_ctc, save_hubert
from training_runs import write_corpus

import codec
from codec.cli.train import main
from codec.settings import CONFIGS, read_config
from codec.train.config import TrainConfig
from codec.train.losses.registry import LossContext
from codec.train.objective import Objective


@pytest.mark.parametrize("name", ["default", "tiny", "dm_codec"])
def test_configs_name_losses_and_options_that_exist(name):
    config = read_config(TrainConfig, CONFIGS / f"{name}.yaml")
    context = LossContext(
        sample_rate=config.model.sample_rate,
        latent_dim=config.model.network.latent_dim,
        num_codebooks=config.model.quantizer.num_codebooks,
        teacher_dims=dict.fromkeys(config.teachers, 8),
    )
    objective = Objective(config.losses, context)
    assert set(objective.weights) == set(config.losses)
    assert set(config.teachers) == {"sm", "lm"}


def test_the_papers_config_is_the_papers():
    config = read_config(TrainConfig, CONFIGS / "dm_codec.yaml")
    weights = {name: options["weight"] for name, options in config.losses.items()}
    assert config.model.architecture == "seanet"
    assert config.data.crop_frames * config.model.network.hop_length == 3 * 16_000
    assert (weights["waveform"], weights["commitment"], weights["adversarial"]) == (500, 10, 1)
    assert config.losses["mel"]["scale_weights"] == [45, 1, 1, 1]
    assert weights["distill_sm"] + weights["distill_lm"] == 120
    assert list(config.discriminators) == ["mpd", "msd", "msstft"]
    assert config.adversary.kind == config.losses["adversarial"]["kind"] == "lsgan"


def test_help_lists_every_key(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main("Train.", arguments=["--help"])
    text = capsys.readouterr().out
    assert exit_info.value.code == 0
    for key in ("data.augmentation.speed_probability=", "compute_type=", "optimizer.lr=", "init_from=", "--resume"):
        assert key in text


def test_an_error_is_one_line_and_status_1(capsys):
    status = main("Train.", arguments=["--config", str(CONFIGS / "tiny.yaml"), "precision=fp16"])
    assert status == 1
    error = capsys.readouterr().err.strip()
    assert error.startswith("codec: error: config precision: fp16") and "\n" not in error


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """tiny.yaml on generated audio with tiny random teachers, for a few steps."""
    folder = tmp_path_factory.mktemp("recipe")
    manifest = write_corpus(folder / "data", (1.2, 1.1), text="the cat sat")
    teachers = {
        "sm": {"features": str(folder / "features"), "extract": {"type": "speech", "model": ""}},
        "lm": {"features": str(folder / "features"), "extract": {"type": "language", "model": ""}},
    }
    teachers["sm"]["extract"]["model"] = save_hubert(folder / "hubert")
    teachers["lm"]["extract"]["model"] = save_bert(folder / "bert")
    words = {"type": "ctc", "model": save_ctc(folder / "ctc")}
    return folder, [
        *("--config", str(CONFIGS / "tiny.yaml")),
        f"data.manifests=[{manifest}]",
        f"data.cache={folder / 'cache'}",
        f"teachers={json.dumps(teachers)}",
        f"words={json.dumps(words)}",
        *("data.batch_size=2", "max_steps=4", "log_every=2", "sample_every=0", "tracker=none"),
        *("quantizer.init_steps=1", "adversary.start_step=2", "threads=1"),
    ]


def test_lm_and_sm_distillation_end_to_end(arguments):
    folder, given = arguments
    assert main("Train.", arguments=[*given, f"output={folder / 'both'}"]) == 0
    last = json.loads((folder / "both" / "log.jsonl").read_text().splitlines()[-1])
    assert last["distill_sm"] > 0.31 and last["distill_lm"] > 0.31
    assert last["adversarial"] > 0
    assert len(list((folder / "features").rglob("*.safetensors"))) == 4
    model = codec.load(folder / "both" / "export", device="cpu")
    tokens = model.encode(torch.from_numpy(make_speech(0.3)))
    assert model.decode(tokens).shape == (1, 4800)


@pytest.mark.parametrize("recipe, present, absent", [("train_sm", "sm", "lm"), ("train_lm", "lm", "sm")])
def test_one_teacher_alone(arguments, monkeypatch, recipe, present, absent):
    folder, given = arguments
    output = folder / recipe
    command = [str(RECIPES / f"{recipe}.py"), *given, f"output={output}", "max_steps=2"]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as exit_info:
        runpy.run_path(command[0], run_name="__main__")
    assert exit_info.value.code == 0
    last = json.loads((output / "log.jsonl").read_text().splitlines()[-1])
    assert f"distill_{present}" in last and f"distill_{absent}" not in last


def test_the_benchmark_compares_two_configs(capsys):
    bench = runpy.run_path(str(RECIPES / "bench_train.py"))
    config = bench["BenchConfig"](
        configs=(str(CONFIGS / "tiny.yaml"),) * 2, batch_size=1, steps=1, warmup=1, threads=1
    )
    assert bench["main"](config) == 0
    output = capsys.readouterr().out
    assert output.strip().splitlines()[-1].startswith("tiny / tiny: ")
