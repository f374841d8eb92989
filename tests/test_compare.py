"""Comparisons: overrides, what is refused before work, skipping, resuming, and the table's numbers."""

import copy
import dataclasses
import json
import multiprocessing
import os
import re
import shutil
import signal
import threading
import time

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import RECONSTRUCTION, run_values, write_corpus

pytest.importorskip("scipy")
pytest.importorskip("sklearn")
pytest.importorskip("pystoi")
pytest.importorskip("matplotlib")

from pathlib import Path

from codec.compare import CompareConfig, compare, merge, records
from codec.compare.plan import plan_runs
from codec.compare.pool import run_all
from codec.compare.report import choose
from codec.compare.score import read_scores
from codec.compare.summary import summarize_runs, t_interval
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.jobs.executor import Lost
from codec.settings import CONFIGS, read_config
from codec.train.checkpoint import read_latest
from codec.train.config import TrainConfig
from codec.train.trainer import Trainer

SCALARS = st.one_of(st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2))
KEYS = st.sampled_from("abc")
TREES = st.recursive(SCALARS, lambda below: st.dictionaries(KEYS, below, max_size=3), max_leaves=8)
SETTINGS = st.dictionaries(KEYS, TREES, max_size=3)


@settings(max_examples=50, deadline=None)
@given(base=SETTINGS, changes=SETTINGS)
def test_merging_keeps_what_is_not_named_and_sets_what_is(base, changes):
    before = copy.deepcopy((base, changes))
    merged = merge(base, changes)
    assert (base, changes) == before
    assert merge(base, {}) == base and merge({}, changes) == changes
    assert merge(merged, changes) == merged
    assert merged.keys() == base.keys() | changes.keys()
    for key in merged:
        if key not in changes:
            assert merged[key] == base[key]
        elif not isinstance(changes[key], dict):
            assert merged[key] == changes[key]
        elif isinstance(base.get(key), dict):
            assert merged[key] == merge(base[key], changes[key])


def test_null_removes_a_setting_and_refuses_one_that_is_not_there():
    base = {"losses": {"mel": {"weight": 1}, "stft": {"weight": 2}}, "seed": 3}
    assert merge(base, {"losses": {"mel": None}}) == {"losses": {"stft": {"weight": 2}}, "seed": 3}
    assert merge(base, {"losses": None}) == {"seed": 3}
    with pytest.raises(CodecError, match=r"x\.losses\.mell: null removes"):
        merge(base, {"losses": {"mell": None}}, "x")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two clips each of two speakers, and a base config of six steps on them."""
    folder = tmp_path_factory.mktemp("compare")
    manifest = write_corpus(folder / "data")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for number, line in enumerate(lines):
        line["speaker"] = f"s{number // 2}"
    manifest.write_text("\n".join(map(json.dumps, lines)) + "\n")
    base = run_values(folder, manifest, **RECONSTRUCTION, max_steps=6, checkpoint_every=2)
    (folder / "base.yaml").write_text(yaml.safe_dump(base))
    return folder, manifest


def plain(data, output, **changes):
    folder, manifest = data
    clips = {"manifests": [str(manifest)]}
    values = {
        "base": str(folder / "base.yaml"),
        "output": str(output),
        "overrides": {"log_every": 1},
        "control": "none",
        "variants": {"none": {}, "mel": {"losses": {"mel": {"weight": 9.0}}}},
        "seeds": [0, 1],
        "jobs": 0,
        "scoring": {
            "sound": {
                "all": {"clips": clips, "measures": ["stoi", "si_sdr"]},
                "first": {"clips": clips, "measures": ["si_sdr"], "codebooks": 1},
            },
            "probes": {"speaker": {"clips": clips, "options": {"folds": 2}}},
        },
        "table": ["all/*", "first/si_sdr", "speaker/*/first/one-hot*"],
        "figure": ["all/stoi"],
    }
    return from_dict(CompareConfig, merge(values, changes))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    config = plain(data, tmp_path_factory.mktemp("finished") / "out")
    assert compare(config) == 0
    return config


def test_every_variant_and_seed_has_its_own_settings(data, tmp_path):
    config = plain(data, tmp_path, variant_seeds={"mel": [5]})
    runs = plan_runs(config)
    assert [(run.variant, run.seed) for run in runs] == [("none", 0), ("mel", 5), ("none", 1)]
    for run in runs:
        assert run.config.seed == run.config.quantizer.seed == run.seed
        assert run.config.losses["mel"]["weight"] == (9.0 if run.variant == "mel" else 1.0)
        assert run.config.log_every == run.config.threads == 1
        assert run.folder == tmp_path / run.variant / f"seed-{run.seed}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seedz": [1]}, "unknown key 'seedz'; did you mean 'seeds'"),
        ({"control": "nobody"}, "control: 'nobody' is none of none, mel"),
        ({"seeds": [1, 1]}, "a seed occurs twice"),
        ({"variants": {"a/b": {}}}, "becomes a folder"),
        ({"variants": {"mel": {"seed": 3}}}, "mel.seed: the comparison sets it"),
        ({"overrides": {"quantizer": {"seed": 3}}}, "overrides.quantizer.seed"),
        ({"variants": {"x": {"modle": {}}}}, "variant x: config TrainConfig: unknown key 'modle'"),
        ({"variants": {"x": {"losses": {"mell": None}}}}, "variants.x.losses.mell: null removes"),
        ({"variants": {"x": {"losses": {"mell": {"weight": 1}}}}}, "variant x: losses.mell: unknown loss 'mell'"),
        ({"variants": {"x": {"losses": {"distill_lm": {"weight": 1}}}}}, "variant x: losses.distill_lm needs a teacher"),
        ({"variants": {"x": {"teachers": {"lm": {"features": "nowhere"}}}}}, "variant x: nowhere/lm: 4 of 4"),
        ({"scoring": {"sound": {"all": {"measures": ["pesk"]}}}}, "unknown measure 'pesk'"),
        ({"scoring": {"sound": {"first": {"codebooks": 3}}}}, "3 is not in 1 to 2"),
        ({"scoring": {"probes": {"speaker": {"options": {"fold": 2}}}}}, "unknown key 'fold'"),
        ({"scoring": {"probes": {"text": {"clips": {"manifests": ["no.jsonl"]}}}}}, "no.jsonl: no such manifest or folder"),
        ({"timeout": 0.0}, "timeout: 0.0 s are too few"),
        ({"table": ["all/pesq"]}, "no score fits 'all/pesq'"),
    ],
)
def test_errors_come_before_any_work(data, tmp_path, changes, message):
    with pytest.raises(CodecError, match=re.escape(message)) as error:
        compare(plain(data, tmp_path / "out", **changes))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_skipped_files_of_folders_are_named_once(data, tmp_path, monkeypatch, capsys):
    shutil.copytree(data[0] / "data", tmp_path / "clips")
    (tmp_path / "clips" / "b.m4a").write_bytes(b"")
    for name in ("run_all", "write_all"):
        monkeypatch.setattr(f"codec.compare.comparison.{name}", lambda *_: None)
    clips = {"manifests": [str(tmp_path / "clips")]}
    sound = {name: {"clips": clips, "measures": ["si_sdr"]} for name in ("all", "first")}
    compare(plain(data, tmp_path / "out", scoring={"sound": sound}, table=["all/si_sdr"], figure=["all/si_sdr"]))
    said = capsys.readouterr().err
    assert said.count("b.m4a") == said.count("note: skipped") == 1


def test_settings_that_this_processor_computes_slowly_are_named_by_the_comparisons_keys(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("codec.precision.bf16_slowdown", lambda: 90.0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("run_all", "write_all"):
        monkeypatch.setattr(f"codec.compare.comparison.{name}", lambda *_: None)
    compare(plain(data, tmp_path / "out", overrides={"precision": "bf16"}))
    assert "90 times as slowly as float32; set overrides.precision=fp32\n" in capsys.readouterr().err
    compare(plain(data, tmp_path / "out"))
    assert "slowly" not in capsys.readouterr().err


def test_finished_runs_are_neither_trained_nor_scored_again(finished, monkeypatch, capsys):
    output = Path(finished.output)
    before = {name: (output / name).read_bytes() for name in ("table.md", "results.json", "figure.png")}

    def refuse(*_):
        raise AssertionError("a finished run was touched")

    monkeypatch.setattr("codec.compare.worker.work", refuse)
    assert compare(finished) == 0
    assert "4 runs, 4 of them finished" in capsys.readouterr().out
    assert before == {name: (output / name).read_bytes() for name in before}


def test_the_export_of_an_earlier_checkpoint_is_no_finished_run(finished, tmp_path):
    """As a full disk leaves it, or a kill between the last checkpoint and its export."""
    first = plan_runs(finished)[0]
    copied = dataclasses.replace(first, config=dataclasses.replace(first.config, output=str(tmp_path / "copy")))
    shutil.copytree(first.folder, copied.folder)
    assert copied.trained
    os.utime(copied.export / "model.safetensors", (1, 1))
    assert not copied.trained


def test_scores_of_other_settings_or_another_model_do_not_count(finished, tmp_path):
    first = plan_runs(finished)[0]
    assert read_scores(first, finished.scoring) is not None
    assert read_scores(first, dataclasses.replace(finished.scoring, seed=1)) is None
    copied = dataclasses.replace(first, config=dataclasses.replace(first.config, output=str(tmp_path / "copy")))
    shutil.copytree(first.folder, copied.folder)
    assert read_scores(copied, finished.scoring) == read_scores(first, finished.scoring)
    with (copied.export / "model.safetensors").open("ab") as file:
        file.write(b"x")
    assert read_scores(copied, finished.scoring) is None


def elsewhere(finished, tmp_path, **changes):
    """The same comparison in a new folder, told of the records of the old one."""
    known = (str(Path(finished.output) / "finished.jsonl"),)
    return dataclasses.replace(finished, output=str(tmp_path / "elsewhere"), earlier=known, **changes)


def test_records_of_finished_runs_stand_for_them_where_their_folders_are_lost(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("codec.compare.worker.work", lambda *_: pytest.fail("a finished run was touched"))
    config = elsewhere(finished, tmp_path)
    assert compare(config) == 0
    assert "4 runs, 4 of them finished" in capsys.readouterr().out
    for name in ("finished.jsonl", "figure.png"):
        assert (Path(config.output) / name).read_bytes() == (Path(finished.output) / name).read_bytes()
    tables = [(Path(one.output) / "table.md").read_text().partition("\n")[2] for one in (config, finished)]
    assert tables[0] == tables[1]
    # Those of the second folder do as well, and once more those of both.
    again = elsewhere(config, tmp_path / "again")
    assert compare(dataclasses.replace(again, earlier=(*again.earlier, *config.earlier))) == 0


def test_the_table_shows_what_is_known_before_the_next_run_ends(finished, tmp_path, monkeypatch):
    config = elsewhere(finished, tmp_path, seeds=(0, 2))

    def stop(config, runs, *_):
        assert {run.seed for run in runs} == {2}
        raise KeyboardInterrupt

    monkeypatch.setattr("codec.compare.comparison.run_all", stop)
    with pytest.raises(KeyboardInterrupt):
        compare(config)
    assert "2 of 4 runs of 6 steps" in (Path(config.output) / "table.md").read_text()


def test_a_comparison_goes_on_from_part_of_its_records(finished, tmp_path, capsys):
    lines = (Path(finished.output) / "finished.jsonl").read_text().splitlines(keepends=True)
    part = tmp_path / "part.jsonl"
    # The third line was torn by an interruption.
    part.write_text("".join(lines[:2]) + lines[2][:40])
    config = dataclasses.replace(finished, output=str(tmp_path / "out"), earlier=(str(part),))
    assert compare(config) == 0
    assert "4 runs, 2 of them finished" in capsys.readouterr().out
    assert (tmp_path / "out" / "finished.jsonl").read_text() == "".join(lines)
    assert sorted(path.name for path in (tmp_path / "out").glob("*/seed-*")) == ["seed-1", "seed-1"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"overrides": {"optimizer": {"lr": 0.5}, "log_every": 1}}, "line 1 (none, seed 0) is of another run: optimizer.lr was"),
        ({"overrides": {"max_steps": 8, "log_every": 1}}, "line 1 (none, seed 0) differs in max_steps (6 and now 8). Set"),
        ({"scoring": {"seed": 1}}, "line 1 (none, seed 0) differs in scoring.seed (0 and now 1). Set them back, or leave this file out"),
        ({"earlier": ("nowhere.jsonl",)}, "nowhere.jsonl is not a file; finished.jsonl lies in the output folder"),
        ({"merges": {"m": {"of": ["mel"], "alpha": [0.5]}}}, "earlier: these files hold no models, which merges need"),
    ],
)
def test_records_of_other_settings_are_refused(finished, tmp_path, changes, message):
    values = merge(to_dict(elsewhere(finished, tmp_path)), changes)
    with pytest.raises(CodecError, match=re.escape(message)) as error:
        compare(from_dict(CompareConfig, values))
    assert "\n" not in str(error.value) and not (tmp_path / "elsewhere").exists()


def test_a_start_is_told_by_the_weights_that_a_run_takes(finished, data, tmp_path):
    """Of a run's folder the newest checkpoint, not its export."""
    first = plan_runs(finished)[0]
    checkpoints = sorted((first.folder / "checkpoints").iterdir())

    def start(source):
        return records._start(plan_runs(plain(data, tmp_path, overrides={"init_from": str(source)}))[0])

    assert start(first.folder) == start(checkpoints[-1]) is not None
    shutil.copytree(first.folder, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "checkpoints" / checkpoints[-1].name)
    assert start(tmp_path / "other") not in (None, start(first.folder), start(first.export))


def test_records_of_another_manifest_or_of_none_are_refused(finished, data, tmp_path):
    _, manifest = data
    before = manifest.read_bytes()
    try:
        manifest.write_bytes(before + b"\n")
        with pytest.raises(CodecError, match=rf"differs in scoring.manifests.{re.escape(str(manifest))} \(\w+ and now \w+\)"):
            compare(elsewhere(finished, tmp_path))
        manifest.unlink()
        config = elsewhere(finished, tmp_path)
        with pytest.raises(CodecError, match=rf"{re.escape(str(manifest))} \(\w+ and now missing\)"):
            records.read_earlier(config, plan_runs(config))
    finally:
        manifest.write_bytes(before)


def test_other_settings_are_refused_for_runs_that_have_begun(finished):
    with pytest.raises(CodecError, match="of another run: optimizer.lr was"):
        compare(dataclasses.replace(finished, overrides={"optimizer": {"lr": 0.5}, "log_every": 1}))
    with pytest.raises(CodecError, match="a run of 6 steps, and max_steps is now 8"):
        compare(dataclasses.replace(finished, overrides={"max_steps": 8, "log_every": 1}))


def test_the_table_holds_the_means_of_the_runs_scores(finished):
    output = Path(finished.output)
    scores = {}
    for variant in ("none", "mel"):
        for seed in (0, 1):
            content = json.loads((output / variant / f"seed-{seed}" / "scores.json").read_text())
            scores[variant, seed] = {score["key"]: score["value"] for score in content["scores"]}
    rows = {}
    for line in (output / "table.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = cells[1:]
    for variant in ("none", "mel"):
        for column, (key, digits) in enumerate({"all/stoi": 3, "all/si_sdr": 1}.items(), start=1):
            values = [scores[variant, seed][key] for seed in (0, 1)]
            low, high = t_interval(values)
            assert rows[variant][0] == "2"
            cell = rows[variant][column]
            numbers = [float(text) for text in re.findall(r"[-+]?[\d.]+", cell)]
            assert numbers == pytest.approx([np.mean(values), low, high], abs=0.51 * 10.0**-digits)
    shown = [float(text) for text in re.findall(r"[-+]?[\d.]+", rows["mel − none"][1])]
    differences = [scores["mel", seed]["all/stoi"] - scores["none", seed]["all/stoi"] for seed in (0, 1)]
    assert shown == pytest.approx([np.mean(differences), *t_interval(differences)], abs=0.00051)


def test_results_hold_every_seed(finished):
    results = json.loads((Path(finished.output) / "results.json").read_text())
    estimate = results["variants"]["mel"]["estimates"]["all/stoi"]
    assert estimate["interval"] == "seeds" and set(estimate["values"]) == {"0", "1"}
    assert results["variants"]["none"]["differences"] == {}
    assert "speaker/speaker_accuracy/first/one-hot/over-chance" in results["scores"]
    assert (Path(finished.output) / "figure.png").stat().st_size > 1000


def test_scores_that_resemble_a_loss_of_their_variant_are_marked(data, tmp_path):
    variants = {"none": {}, "plain": {"losses": {"waveform": None}}}
    config = plain(data, tmp_path / "out", seeds=[0], overrides={"max_steps": 2})
    config = dataclasses.replace(config, variants=variants)
    assert "waveform" in plan_runs(config)[0].config.losses
    assert compare(config) == 0
    written = json.loads((tmp_path / "out" / "results.json").read_text())["variants"]
    marks = {"all/si_sdr": ["waveform"], "first/si_sdr": ["waveform"]}
    assert (written["none"]["marks"], written["plain"]["marks"]) == (marks, {})
    text = (tmp_path / "out" / "table.md").read_text()
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    # Two columns of SI-SDR each; a difference from a marked control is as doubtful as that control.
    assert {name: row.count("\\*") for name, row in rows.items() if name != "variant"} == {
        "none": 2,
        "plain": 0,
        "plain − none": 2,
    }
    assert text.endswith("flatters it: none: all: SI-SDR dB (waveform), first: SI-SDR dB (waveform)\n")


def test_t_interval_by_hand():
    # Two values: half of their distance times t(0.975, 1) = 12.706.
    assert t_interval([1.0, 3.0]) == pytest.approx((2 - 12.7062, 2 + 12.7062), abs=1e-3)


def test_differences_are_paired_by_seed_and_one_seed_keeps_the_bootstraps_interval(finished):
    runs = plan_runs(finished)
    scored = [(run, read_scores(run, finished.scoring)) for run in runs]
    # Seed 0 of both variants, and seed 1 of one of them.
    part = summarize_runs(finished, [pair for pair in scored if (pair[0].variant, pair[0].seed) != ("none", 1)])
    none, mel = part.variants
    key = "all/si_sdr"
    assert (none.estimates[key].interval, mel.estimates[key].interval) == ("clips", "seeds")
    expected = next(score for score in scored[0][1] if score.key == key)
    assert (none.estimates[key].low, none.estimates[key].high) == (expected.low, expected.high)
    assert list(mel.differences[key].values) == [0] and mel.differences[key].interval == "none"
    assert mel.differences[key].mean == mel.estimates[key].values[0] - none.estimates[key].values[0]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(finished, data, tmp_path):
    config = plain(data, tmp_path / "out", variants={"mel": None}, seeds=[1])
    (run,) = plan_runs(config)
    Trainer(run.config).run(until=3)
    assert run.step == 3 and not run.trained
    assert compare(config) == 0
    whole = plan_runs(finished)[2]
    assert (whole.variant, whole.seed) == ("none", 1)
    weights = "model.safetensors"
    assert (run.export / weights).read_bytes() == (whole.export / weights).read_bytes()
    assert read_scores(run, config.scoring) == read_scores(whole, finished.scoring)


@pytest.fixture
def long_run(data, tmp_path):
    """A comparison of one run in a process of its own that does not end by itself within a test."""
    changes = {"variants": {"mel": None}, "seeds": [1], "jobs": 1, "overrides": {"max_steps": 100_000, "keep": 1}}
    return plain(data, tmp_path / "out", **changes)


def wait_for(path: Path, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert path.is_file()


def check_saved(run) -> None:
    """It has ended, and its checkpoint is of the last step that it has done."""
    said = (run.folder / "output.txt").read_text()
    step = int(re.search(r"asked to stop: saving after step (\d+)", said)[1])
    assert run.step == step and 0 < step < 100_000
    assert not run.trained and read_latest(run.folder / "checkpoints", pytest.fail).step == step


def test_an_interrupt_ends_the_runs_once_they_are_saved(long_run):
    (run,) = plan_runs(long_run)

    def interrupt():
        try:
            wait_for(run.folder / "log.jsonl", 120)
        finally:
            # Even where nothing was written in time: the run would go on for hours.
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        compare(long_run)
    thread.join()
    check_saved(run)
    assert not multiprocessing.active_children()


def test_runs_are_saved_when_the_comparison_is_killed(long_run):
    (run,) = plan_runs(long_run)
    parent = multiprocessing.get_context("spawn").Process(target=compare, args=(long_run,))
    parent.start()
    wait_for(run.folder / "log.jsonl", 120)
    parent.kill()
    parent.join()
    said, deadline = run.folder / "output.txt", time.monotonic() + 60
    while "asked to stop" not in said.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    step = int(re.search(r"saving after step (\d+)", said.read_text())[1])
    wait_for(run.folder / "checkpoints" / f"step-{step:08d}" / "manifest.json")
    check_saved(run)


def test_a_run_that_takes_too_long_is_ended(long_run, capsys):
    config = dataclasses.replace(long_run, timeout=1.0)
    assert compare(config) == 1
    said = capsys.readouterr().out
    assert re.search(r"none, seed 1: not done after 1 s, so its process was ended \(.*output\.txt\)", said)
    assert "1 of 1 runs failed" in said


def test_processes_score_as_this_one_does_and_a_failure_is_one_line(finished, data, tmp_path, monkeypatch, capsys):
    config = plain(data, tmp_path / "out", seeds=[1], jobs=2)
    good, bad = plan_runs(config)

    def sabotaged(config, runs, *callbacks):
        broken = dataclasses.replace(bad, config=dataclasses.replace(bad.config, tracker="wandb"))
        run_all(config, [broken if run.variant == bad.variant else run for run in runs], *callbacks)

    monkeypatch.setattr("codec.compare.comparison.run_all", sabotaged)
    assert compare(config) == 1
    assert read_scores(good, config.scoring) == read_scores(plan_runs(finished)[2], finished.scoring)
    said = capsys.readouterr().out
    assert "mel, seed 1: config tracker: wandb is not installed" in said and "1 of 2 runs failed" in said


def test_another_executor_can_do_the_runs(finished, tmp_path):
    class Here:
        def run(self, function, tasks, done, started=None):
            for index in reversed(range(len(tasks))):
                started(index)
                done(index, Lost("a machine went away") if index else function(tasks[index]))

    runs = [
        dataclasses.replace(run, config=dataclasses.replace(run.config, output=str(tmp_path / str(number))))
        for number, run in enumerate(plan_runs(finished)[:2])
    ]
    shutil.copytree(plan_runs(finished)[0].folder, runs[0].folder)
    ended = []
    run_all(finished, runs, lambda run: None, ended.append, Here())
    assert [how.run for how in ended] == [runs[1], runs[0]]
    assert ended[0].problem.startswith("a machine went away") and ended[1].problem is None


def test_patterns_choose_in_their_order():
    assert choose(["a/x", "a/y", "b/x"], ["b/*", "a/y", "*"]) == ["b/x", "a/y", "a/x"]


@pytest.mark.parametrize("name", ["ablation", "search"])
def test_shipped_comparisons_make_training_configs(name):
    config = read_config(CompareConfig, CONFIGS / f"{name}.yaml")
    for run in plan_runs(config):
        assert isinstance(run.config, TrainConfig)
        distilled = {loss.removeprefix("distill_") for loss in run.config.losses if loss.startswith("distill_")}
        assert distilled == set(run.config.teachers)


def test_the_ablations_teachers_differ_in_nothing_but_their_features():
    config = read_config(CompareConfig, CONFIGS / "ablation.yaml")
    by_variant = {run.variant: run.config for run in plan_runs(config)}
    controls = [by_variant[name] for name in ("lm_aligned", "lm_index", "lm_shuffled")]
    assert [control.teachers["lm"].mode for control in controls] == ["aligned", "index", "shuffled"]
    assert [control.teachers["lm"].name for control in controls] == [None, "lm_index", "lm_shuffled"]
    same = {"output": "", "teachers": {}}
    assert len({repr(dataclasses.replace(control, **same)) for control in controls}) == 1
    both = by_variant["lm_sm"].losses
    assert both["distill_sm"] == both["distill_lm"]
    assert not by_variant["none"].teachers
