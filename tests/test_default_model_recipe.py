"""recipes/default_model.py: stages that fit together, and a chain that is stopped and goes on."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from recipe_modules import load_recipe

from codec.errors import CodecError
from codec.merging.config import MergeConfig
from codec.settings import read_config
from codec.train.config import TrainConfig


@pytest.fixture(scope="module")
def recipe():
    yield load_recipe("default_model")
    del sys.modules["default_model_recipe"]


def option(step, name):
    """The value of ``name=value`` in a command."""
    return next((Path(text.partition("=")[2]) for text in step.command if text.startswith(f"{name}=")), None)


def trainings(steps):
    """The settings of each training, read as its command would."""
    for step in steps:
        if "train" in step.command:
            name = step.command[step.command.index("--config") + 1]
            given = step.command[step.command.index("--config") + 2 :]
            yield step, read_config(TrainConfig, name, given)


def test_each_stage_begins_with_what_an_earlier_one_leaves(recipe):
    steps = recipe.model_steps(recipe.MakeConfig("model", output="runs/end"))
    starts = {id(step): settings for step, settings in trainings(steps)}
    assert len(starts) == 10
    made: set[Path] = set()

    def check(path):
        assert made & {Path(path), Path(path).parent}, path

    for step in steps:
        settings = starts.get(id(step))
        if settings is not None:
            if settings.init_from is not None:
                check(settings.init_from)
            made.add(Path(settings.output))
        elif "merge" in step.command:
            merged = read_config(MergeConfig, step.command[step.command.index("merge") + 1])
            for path in (merged.base, *(branch.path for branch in merged.models)):
                check(path)
            made.add(Path(merged.output_dir))
        elif option(step, "model") is not None:
            check(option(step, "model"))
            made.add(option(step, "output"))
        else:
            assert step.command[-1] == "runs/end"
    assert Path("runs/end") in made


def test_the_data_of_all_stages_are_made_before_them(recipe):
    made = {option(step, "output") for step in recipe.data_steps(recipe.MakeConfig("data"))}
    made |= {recipe.MANIFESTS / "many_speakers.jsonl", recipe.MANIFESTS / "held_out.jsonl"}
    for _, settings in trainings(recipe.model_steps(recipe.MakeConfig("model"))):
        ours = {Path(path) for path in settings.data.manifests if not path.startswith("../shared/data/")}
        assert ours and ours <= made


def test_the_last_speakers_are_held_out(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe.MANIFESTS.mkdir(parents=True)
    (recipe.MANIFESTS / "all_speakers.jsonl").write_text("".join(f"{number}\n" for number in range(251)))
    recipe.hold_speakers_out()
    parts = [(recipe.MANIFESTS / f"{name}.jsonl").read_text().split() for name in ("many_speakers", "held_out")]
    assert [len(part) for part in parts] == [235, 16]
    assert [*parts[0], *parts[1]] == [str(number) for number in range(251)]


def test_precision_reaches_what_a_stage_has(recipe):
    """Every override is a setting of that stage: a loss that it lacks is not made by one."""
    config = recipe.MakeConfig("model", precision="fp32", max_steps=7)
    plain = dict(trainings_by_name(recipe, recipe.MakeConfig("model")))
    for name, settings in trainings_by_name(recipe, config):
        assert (settings.precision, settings.max_steps) == ("fp32", 7)
        assert not settings.cuda_graphs or torch.cuda.is_available()
        assert settings.losses.keys() == plain[name].losses.keys()
        if "output_features" in settings.losses:
            assert settings.losses["output_features"]["precision"] == "fp32"


def trainings_by_name(recipe, config):
    return [(settings.output, settings) for _, settings in trainings(recipe.model_steps(config))]


def write(recipe, path, status=0):
    """A step that makes a file."""
    command = ["-c", f"import sys; open({str(path)!r}, 'a').write('x'); sys.exit({status})"]
    return recipe.Step(command, path.is_file)


def test_what_is_done_is_passed_over_and_a_failure_ends_the_chain(recipe, tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    assert recipe.run_steps([write(recipe, first), write(recipe, second, 3), write(recipe, third)]) == 3
    assert second.exists() and not third.exists()
    assert recipe.run_steps([write(recipe, path) for path in (first, second, third)]) == 0
    assert [path.read_text() for path in (first, second, third)] == ["x", "x", "x"]


def test_a_training_that_was_stopped_ends_the_chain(recipe, tmp_path, capfd):
    """Ctrl-C saves and leaves with status 0."""
    stopped = recipe.Step(["-c", "pass", "train"], lambda: False)
    assert recipe.run_steps([stopped, write(recipe, tmp_path / "after")]) == 130
    assert "the same command resumes" in capfd.readouterr().err
    assert not (tmp_path / "after").exists()


def test_sigterm_reaches_the_command(recipe, tmp_path):
    ready = tmp_path / "ready"
    program = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"open({str(ready)!r}, 'w').close()\n"
        "time.sleep(60)"
    )

    def stop():
        while not ready.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    thread = threading.Thread(target=stop)
    thread.start()
    assert recipe.run_steps([recipe.Step(["-c", program], lambda: False)]) == 143
    thread.join()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_missing_data_folder_is_named(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodecError, match="docs/training.md says what belongs there"):
        recipe.main(recipe.MakeConfig("data"))
    with pytest.raises(CodecError, match="processes and max_steps must be 1 or more"):
        recipe.MakeConfig("model", processes=0)
