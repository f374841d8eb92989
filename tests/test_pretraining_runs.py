"""Masked pre-training through the trainer: resume, processes, precision, collapse, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import TINY_CONFIG
from pretraining_runs import CLASSES, ENCODER, data_values, masked_trainer, masked_values, train_alone
from safetensors.torch import load_file
from student_models import RATE, write_kinds
from test_ddp import free_port
from training_runs import run_config

from codec.cli.train import main
from codec.errors import CodecError
from codec.pretraining.models.files import load_pretrained
from codec.pretraining.objective.diagnostics import CollapseConfig, CollapseWatch
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.trainer import Trainer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Clips of four kinds of audio, ``data/train.jsonl``."""
    folder = tmp_path_factory.mktemp("corpus")
    write_kinds(folder / "data")
    return folder


def values(corpus, output, **changes):
    data = data_values(corpus, corpus / "data" / "train.jsonl", **changes.pop("data", {}))
    return masked_values(corpus, corpus / "data" / "train.jsonl", output=str(output), **{"data": data, **changes})


def frame_values(corpus, output, **changes):
    kept = {key: value for key, value in values(corpus, output).items() if key != "encoder"}
    frames = {"task": "masked_frames", "model": TINY_CONFIG, "crop_frames": 30, "span": 5}
    return {**kept, **frames, **changes}


def final(folder):
    return read_checkpoint(list_checkpoints(folder / "checkpoints")[-1])


def same(first, second):
    for part, tensors in first.parts.items():
        for name, value in tensors.items():
            assert torch.equal(value, second.parts[part][name]), f"{part}: {name}"


@pytest.mark.parametrize("build", [values, frame_values])
def test_a_resumed_run_equals_an_uninterrupted_one(corpus, tmp_path, build):
    more = {"hypotheses": {"count": 3}}
    masked_trainer(build(corpus, tmp_path / "whole", **more)).run()
    masked_trainer(build(corpus, tmp_path / "parts", **more)).run(until=3)
    torch.rand(7)  # Whatever else a new process draws.
    resumed = masked_trainer(build(corpus, tmp_path / "parts", resume=True, **more))
    assert resumed.step == 3
    resumed.run()
    whole = final(tmp_path / "whole")
    assert whole.parts.keys() == {"model", "optimizer", "watch", "rng"}
    same(whole, final(tmp_path / "parts"))


def test_sizes_may_not_change_on_resume(corpus, tmp_path):
    masked_trainer(values(corpus, tmp_path)).run(until=2)
    for changes, message in (
        ({"encoder": {**ENCODER, "dim": 32}}, r"encoder\.dim was 16 and is now 32"),
        ({"classes": {**CLASSES, "count": 10}}, r"classes\.count was 12 and is now 10"),
        ({"hypotheses": {"count": 5}}, r"hypotheses\.count was 1 and is now 5"),
    ):
        with pytest.raises(CodecError, match=message):
            masked_trainer(values(corpus, tmp_path, resume=True, **changes))


def test_a_step_moves_the_student_and_not_the_data_of_the_teacher(corpus, tmp_path):
    task = masked_trainer(values(corpus, tmp_path)).task
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    task.step(task.batches.batch(0), 0)
    moved = {name for name, value in task.model.named_parameters() if not torch.equal(value, before[name])}
    # At the first step the teachers stay as they are.
    assert moved == {name for name in before if "teacher" not in name}
    task.step(task.batches.batch(1), 1)
    assert all(not torch.equal(value, before[name]) for name, value in task.model.named_parameters())


def test_each_step_is_logged_with_baselines_of_clips_kept_aside(corpus, tmp_path):
    result = masked_trainer(values(corpus, tmp_path, hypotheses={"count": 2})).run()
    record = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert record.keys() >= {
        *("prediction", "classification", "total", "grad_norm", "hypotheses", "agreement"),
        *("classes/used", "classes/guessed", "classes/of_a_token", "classes/distinct"),
        *("spread/target", "spread/prediction", "teacher/encoder_decay", "teacher/temperature"),
        *("held_out/prediction", "held_out/averaged", "held_out/position_mean", "held_out/other_context"),
    }
    assert 1 <= record["classes/used"] <= 12 and 1 <= record["hypotheses"] <= 2
    exported = load_pretrained(result.export, "cpu")
    weights = final(tmp_path).parts["model"]
    for name, value in exported.state_dict().items():
        assert torch.equal(value, weights[f"pair.student.{name}"])


def test_what_the_context_predicts_is_learnt(corpus, tmp_path):
    """Tones of four pitches: the patches that are seen have the same pitch as those that are hidden."""
    teacher = {"reference_steps": 60, "encoder_decay": [0.9, 0.99], "head_decay": [0.9, 0.99]}
    task = masked_trainer(
        values(corpus, tmp_path, max_steps=300, teacher=teacher, data={"batch_size": 16, "held_out": 16})
    ).task
    with task.loader(0, 300) as batches:
        for step, batch in enumerate(batches):
            signs = task.step(batch, step)
    found = task.measure()
    assert found["prediction"] < 0.75 * found["position_mean"]
    assert found["prediction"] < 0.75 * found["other_context"]
    assert found["averaged"] == pytest.approx(found["prediction"], rel=1e-4)
    assert signs["classes/used"] > 2 and signs["spread/target"] > 0.2


COLLAPSING = {
    "classes": {**CLASSES, "center_on": "none", "teacher_temperatures": [0.01, 0.01]},
    "weights": {"prediction": 0.0, "classification": 1.0},
    "teacher": {"encoder_decay": [0.5, 0.5], "head_decay": [0.5, 0.5], "reference_steps": 200, "least_decay": 0.0},
    "max_steps": 200,
}


def test_a_run_that_collapses_says_so_and_stops(corpus, tmp_path):
    with pytest.raises(CodecError, match=r"step \d+: the run has collapsed, .*collapse.stop=false"):
        masked_trainer(values(corpus, tmp_path, **COLLAPSING)).run()
    assert not list_checkpoints(tmp_path / "checkpoints")


def test_a_run_that_collapses_can_be_let_run(corpus, tmp_path, capsys):
    run = values(corpus, tmp_path, **COLLAPSING, collapse={"stop": False})
    assert masked_trainer(run).run().step == 200
    assert capsys.readouterr().err.count("the run has collapsed") == 1


@pytest.mark.parametrize(
    ("signs", "message"),
    [
        ({"classes/used": 1.2}, "all tokens into 1.2 of 50 classes"),
        ({"classes/of_a_token": 49.9}, "every token over 50 of 50 classes"),
        ({"spread/target": 0.01}, "all targets have nearly one direction"),
        ({"spread/prediction": 0.01}, "all predictions have nearly one direction"),
        ({}, None),
    ],
)
def test_each_sign_of_collapse_is_known(signs, message):
    healthy = {"classes/used": 20.0, "classes/of_a_token": 3.0, "spread/target": 0.7, "spread/prediction": 0.6}
    tensors = {name: torch.tensor(value) for name, value in (healthy | signs).items()}
    watch = CollapseWatch(CollapseConfig(after=0.1), 50, 100)
    for _ in range(10):
        watch.update(tensors)
        assert watch.verdict() is None
    watch.update(tensors)
    if message is None:
        assert watch.verdict() is None
    else:
        assert message in watch.verdict()
    without = CollapseWatch(CollapseConfig(after=0.0), 0, 100)
    without.update({name: value for name, value in tensors.items() if name.startswith("spread")})
    assert (without.verdict() is None) == (not any(name.startswith("spread") for name in signs))


def test_bfloat16_learns_about_the_same_and_keeps_float32_weights(corpus, tmp_path):
    records = []
    for precision in ("fp32", "bf16"):
        trainer = masked_trainer(values(corpus, tmp_path / precision, precision=precision))
        trainer.run()
        assert {value.dtype for value in trainer.task.model.state_dict().values()} == {torch.float32}
        records.append(json.loads((tmp_path / precision / "log.jsonl").read_text().splitlines()[-1]))
    exact, rounded = records
    assert rounded["total"] != exact["total"]
    assert rounded["total"] == pytest.approx(exact["total"], rel=0.05)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("build", [values, frame_values])
def test_a_gpu_trains_and_resumes(corpus, tmp_path, build):
    masked_trainer(build(corpus, tmp_path, precision="bf16")).run(until=3)
    assert masked_trainer(build(corpus, tmp_path, precision="bf16", resume=True)).run().step == 6
    assert "held_out/prediction" in (tmp_path / "log.jsonl").read_text()


def start(folder: Path, settings: dict, rank: int, port: int) -> subprocess.Popen:
    """One of two processes."""
    (folder / "config.json").write_text(json.dumps(settings))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "RANK": str(rank),
        "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }
    worker = Path(__file__).with_name("pretraining_runs.py")
    command = [sys.executable, str(worker), str(folder / "config.json"), str(folder / f"{rank}.safetensors")]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_share_the_crops_of_one_and_train_as_it_does(corpus, tmp_path):
    settings = values(corpus, tmp_path / "run", hypotheses={"count": 2}, max_steps=4)
    port = free_port()
    running = [start(tmp_path, settings, rank, port) for rank in range(2)]
    alone = train_alone({**settings, "output": str(tmp_path / "alone")})
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    for name in ("shown", "orders"):
        assert torch.equal(torch.cat([first.pop(name), second.pop(name)], dim=1), alone.pop(name))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], value, atol=1e-4, rtol=1e-4), name


def write_clip(folder, name, samples):
    soundfile.write(folder / name, samples, RATE, subtype="FLOAT")
    return json.dumps({"path": name, "seconds": len(samples) / RATE})


@pytest.mark.parametrize(
    ("samples", "skip", "message"),
    [
        (np.full(900, 0.1), {"skip_short": True}, "shorter than a crop of 0.53 s, as 1 of 13 clips are"),
        (np.zeros(4000), {"skip_bad_audio": True}, "bad.wav: silent from start to end"),
        (np.full(4000, np.nan), {"skip_bad_audio": True}, "NaN"),
    ],
)
def test_bad_clips_are_refused_or_left_out(tmp_path, samples, skip, message):
    folder = write_kinds(tmp_path / "data", (3, 3, 3, 3)).parent
    line = write_clip(folder, "bad.wav", samples.astype(np.float32))
    with (folder / "train.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(CodecError, match=message):
        masked_trainer(values(tmp_path, tmp_path / "run"))
    batches = masked_trainer(values(tmp_path, tmp_path / "other", data=skip)).task.batches
    drawn = {batches._draws.draw(step, slot)[0] for step in range(50) for slot in range(4)}
    assert 12 not in drawn and len(drawn) == 8


def test_domains_get_their_shares(tmp_path):
    folder = write_kinds(tmp_path / "data", (12, 3)).parent
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text().splitlines()]
    for line in lines:
        line["domain"] = "music" if line["label"] == "kind1" else "speech"
    (folder / "train.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = {"domain_weights": {"speech": 1, "music": 1}, "held_out": 2}
    task = masked_trainer(values(tmp_path, tmp_path / "run", data=data)).task
    drawn = [task.store.clips[task.batches._draws.draw(step, 0)[0]].domain for step in range(400)]
    assert abs(drawn.count("music") / 400 - 0.5) < 0.1
    with pytest.raises(CodecError, match="there are: music, speech"):
        masked_trainer(values(tmp_path, tmp_path / "x", data={"domain_weights": {"noise": 1}}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio: expected a share between 0 and 1"),
        ({"mask_ratio": 0.98}, "0.98 of 32 tokens leaves none that are seen"),
        ({"classes": {**CLASSES, "count": 3000}}, r"3000 classes, and the training clips hold \d+ tokens"),
        ({"data": {"held_out": 48}}, "48 clips are to be kept aside, and 48 are long enough"),
        ({"data": {"held_out": 1}}, "at least 2 clips"),
        ({"data": {"manifests": []}}, "data.manifests: none given"),
        ({"encoder": {**ENCODER, "frames": 30}}, "encoder.frames: expected a multiple of patch 4"),
        ({"encoder": {**ENCODER, "frames": 320}}, "shorter than a crop of 5.14 s"),
        ({"encoder": {**ENCODER, "heads": 3}}, "must be a multiple of 4 and of heads 3"),
        ({"encoder": {**ENCODER, "size": "huge"}}, "size"),
        ({"predictor": {"dim": 18}}, "config predictor: dim 18"),
        ({"warmup_share": 2.0}, "warmup_share"),
        ({"collapse": {"min_classes": 0.5}}, "config collapse"),
        ({"precision": "fp16"}, "precision"),
        ({"init_from": "nowhere"}, "nowhere: no pre-trained encoder"),
    ],
)
def test_what_is_wrong_is_found_before_the_first_step(corpus, tmp_path, changes, message):
    with pytest.raises(CodecError, match=message):
        masked_trainer(values(corpus, tmp_path, **changes))


def test_a_run_starts_from_another_of_its_sizes_only(corpus, tmp_path):
    first = masked_trainer(values(corpus, tmp_path / "a"))
    source = str(first.run().export)
    task = masked_trainer(values(corpus, tmp_path / "b", init_from=source, seed=5)).task
    for name, value in first.task.student.state_dict().items():
        assert torch.equal(task.student.state_dict()[name], value)
    for mine, theirs in zip(task.model.pair.teacher.parameters(), task.student.transformer.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with pytest.raises(CodecError, match="its sizes are not this run's"):
        masked_trainer(values(corpus, tmp_path / "c", init_from=source, encoder={**ENCODER, "dim": 32}))


@pytest.mark.parametrize("build", [values, frame_values], ids=["patches", "frames"])
def test_a_codec_cannot_start_from_the_run_itself(corpus, tmp_path, build):
    """A run's folder stands for its newest checkpoint, which holds no codec; the export of frames does start one."""
    masked_trainer(build(corpus, tmp_path / "pretrained")).run()
    config = run_config(tmp_path, corpus / "data" / "train.jsonl", init_from=str(tmp_path / "pretrained"))
    with pytest.raises(CodecError, match="is a run of another task, not of a codec; name its folder export$"):
        Trainer(config)


def test_the_command_trains_it(corpus, tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(json.dumps(values(corpus, tmp_path / "run")))  # JSON is YAML.
    assert main("Train.", arguments=["--config", str(path), "max_steps=2"]) == 0
    assert final(tmp_path / "run").step == 2
