"""Configs by name, laid over their base."""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import codec
from codec.cli.features import ExtractConfig
from codec.compare import CompareConfig
from codec.compare.plan import plan_runs
from codec.data.corpus import CorpusConfig
from codec.discriminators.container import Discriminators
from codec.errors import CodecError
from codec.lm.config import LmConfig
from codec.merging.config import MergeConfig
from codec.model.transfer import fitting_weights
from codec.settings import CONFIGS, find_config, read_config, read_settings, read_yaml
from codec.train.config import TrainConfig
from codec.train.losses.registry import LossContext
from codec.train.objective import Objective
from codec.train.tasks import config_class

sys.path.append(str(Path(__file__).parents[1] / "recipes"))

from compare_students import StudentsConfig


@dataclass(frozen=True)
class Settings:
    a: int = 0
    b: dict[str, int] = field(default_factory=dict)


def write(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)


def test_a_config_is_laid_over_its_base_from_its_own_folder(tmp_path, monkeypatch):
    write(
        tmp_path,
        low="a: 1\nb: {x: 1, y: 2}",
        middle="base: low.yaml\nb: {y: null, z: 3}",
        top="base: middle.yaml\na: 5",
    )
    monkeypatch.chdir(tmp_path.parent)
    assert read_config(Settings, tmp_path / "top.yaml", ["b.x=7"]) == Settings(5, {"x": 7, "z": 3})


@pytest.mark.parametrize("text", ["base: top.yaml", "base: middle.yaml"])
def test_circles_are_refused(tmp_path, text):
    write(tmp_path, top=text, middle="base: top.yaml")
    with pytest.raises(CodecError, match="leads back"):
        read_settings(tmp_path / "top.yaml")


def test_a_base_lacks_what_is_to_be_removed(tmp_path):
    write(tmp_path, low="a: 1", top="base: low.yaml\nb: null")
    with pytest.raises(CodecError, match="top.yaml: b: null removes a setting, and there is none"):
        read_settings(tmp_path / "top.yaml")


def test_names_paths_and_the_old_place(tmp_path):
    assert find_config("tiny") == CONFIGS / "tiny.yaml"
    write(tmp_path, tiny="a: 3")
    assert read_config(Settings, tmp_path / "tiny.yaml").a == 3
    with pytest.warns(FutureWarning, match="use --config tiny"):
        assert find_config("recipes/configs/tiny.yaml") == CONFIGS / "tiny.yaml"
    with pytest.raises(CodecError, match="no config 'tinny'; did you mean 'tiny'. shipped ones: "):
        find_config("tinny")


def kind_of(name):
    """The dataclass that a shipped config is for, by its keys."""
    keys = read_yaml(CONFIGS / f"{name}.yaml").keys()
    if name == "compare_students":
        return StudentsConfig
    if "variants" in keys:
        return CompareConfig
    if "models" in keys:
        return MergeConfig
    if name.startswith("lm_"):
        return LmConfig
    if "source" in keys:
        return CorpusConfig
    return ExtractConfig if "manifest" in keys else config_class(read_yaml(CONFIGS / f"{name}.yaml"))


@pytest.mark.parametrize("name", sorted(path.stem for path in CONFIGS.glob("*.yaml")))
def test_every_shipped_config_is_valid(name):
    overrides = []
    if name == "finetune":
        # The verb names the model and the recordings.
        overrides = ["init_from=default", "data.manifests=[voice]"]
    config = read_config(kind_of(name), name, overrides)
    runs = [run.config for run in plan_runs(config)] if isinstance(config, CompareConfig) else [config]
    for run in runs:
        if isinstance(run, TrainConfig):
            check_losses(run)


def check_losses(config):
    context = LossContext(
        sample_rate=config.model.sample_rate,
        latent_dim=config.model.network.latent_dim,
        num_codebooks=config.model.quantizer.num_codebooks,
        teacher_dims=dict.fromkeys(config.teachers, 8),
    )
    # What needs a model of its own is not built here.
    losses = {name: options for name, options in config.losses.items() if "model" not in options}
    assert set(Objective(losses, context).weights) == set(losses)
    if config.discriminators:
        adversary = config.adversary
        built = Discriminators(config.discriminators, adversary.kind, adversary.reduction)
        assert list(built.members) == list(config.discriminators)
    assert dataclasses.is_dataclass(config)


def test_null_removes_a_group_on_the_command_line_too():
    removed = ["teachers=null", "losses.distill_sm=null", "losses.distill_lm=null", "words=null"]
    config = read_config(TrainConfig, "tiny", removed)
    assert not config.teachers and "distill_sm" not in config.losses and "mel" in config.losses


def test_configs_that_start_from_the_shipped_model_fit_it():
    shipped, found = codec.load("default", "cpu"), set()
    for path in sorted(CONFIGS.glob("*.yaml")):
        own = read_yaml(path)
        if "variants" in own:
            configs = [run.config for run in plan_runs(read_config(CompareConfig, path))] if {"overrides", "scoring"} <= set(own) else []
        elif "models" in own:  # whose base is a model
            configs = []
        else:
            values = read_settings(path.stem)
            configs = [read_config(TrainConfig, path)] if {"init_from", "losses", "model"} <= set(values) else []
        for model in {config.model for config in configs if config.init_from in ("default", "checkpoints/default")}:
            assert fitting_weights(shipped, codec.Codec(model)) is not None, path.stem
            found.add(path.stem)
    assert {"ablation_refined", "compare_teachers", "stable_ft", "task_vector_speech"} <= found
