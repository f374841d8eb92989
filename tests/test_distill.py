"""Embedding-only distillation: resume, processes, gradients, controls, and what is refused before the first step."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from distill_worker import distill as distill_alone
from safetensors.torch import load_file
from student_models import distill_config, distill_values, write_kinds, write_vectors
from test_ddp import free_port

from codec.cli.distill import main
from codec.cli.train import main as train_main
from codec.data import read_manifest
from codec.data.clusters import read_clusters
from codec.distilling.targets import TargetScale
from codec.errors import CodecError
from codec.students.files import load_student
from codec.teachers.features import FeatureCache, FeatureInfo
from codec.teachers.features.cache import ClipFeatures
from codec.teachers.registry import teacher
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.trainer import Trainer


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A folder with clips, their manifest ``data/train.jsonl`` and a planted teacher's ``features``."""
    folder = tmp_path_factory.mktemp("corpus")
    manifest = write_kinds(folder / "data")
    write_vectors(folder / "features", manifest)
    write_vectors(folder / "shuffled", manifest, shuffled=True)
    return folder


def config(corpus, output, **changes):
    values = {"output": str(output), "teacher": {"features": str(corpus / "features"), "name": "toy"}, **changes}
    return distill_config(corpus, corpus / "data" / "train.jsonl", **values)


def final(folder):
    return read_checkpoint(list_checkpoints(folder / "checkpoints")[-1])


def test_a_resumed_run_equals_an_uninterrupted_one(corpus, tmp_path):
    Trainer(config(corpus, tmp_path / "whole")).run()
    Trainer(config(corpus, tmp_path / "parts")).run(until=3)
    torch.rand(7)  # Whatever else a new process draws.
    resumed = Trainer(config(corpus, tmp_path / "parts", resume=True))
    assert resumed.step == 3
    resumed.run()
    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    assert whole.parts.keys() == {"distiller", "average", "optimizer", "scale", "draws", "rng"}
    for part, tensors in whole.parts.items():
        for name, value in tensors.items():
            assert torch.equal(value, parts.parts[part][name]), f"{part}: {name}"


def test_what_decides_a_step_may_not_change_on_resume(corpus, tmp_path):
    Trainer(config(corpus, tmp_path)).run(until=2)
    with pytest.raises(CodecError, match=r"clusters\.power was 1\.0 and is now 0\.5"):
        Trainer(config(corpus, tmp_path, resume=True, clusters={"num_clusters": 4, "min_size": 2, "power": 0.5}))


def test_the_gradient_reaches_student_and_head_only(corpus, tmp_path):
    task = Trainer(config(corpus, tmp_path)).task
    vectors, scale = task.vectors.values.clone(), task.scale.mean.clone()
    before = {name: value.clone() for name, value in task.distiller.named_parameters()}
    task.step(task.batches.batch(0), 0)
    unmoved = [name for name, value in task.distiller.named_parameters() if torch.equal(value, before[name])]
    assert unmoved == []
    assert torch.equal(task.vectors.values, vectors) and torch.equal(task.scale.mean, scale)
    assert not task.vectors.values.requires_grad and task.batches.batch(1).target.grad_fn is None


def test_the_head_is_no_part_of_what_is_exported(corpus, tmp_path):
    result = Trainer(config(corpus, tmp_path)).run()
    student, tensors = load_student(result.export, "cpu"), load_file(result.export / "model.safetensors")
    assert all(name.startswith("trunk.") for name in tensors)
    average = final(tmp_path).parts["average"]
    assert all(torch.equal(tensor, average[f"student.{name}"]) for name, tensor in tensors.items())
    assert student.embed(corpus / "data" / "k0n0.wav").shape == (1, student.dim)


def learn(corpus, output, features):
    """Gain on the clips held out after a short run."""
    teacher = {"features": str(corpus / features), "name": "toy"}
    task = Trainer(config(corpus, output, teacher=teacher, max_steps=150, optimizer={"lr": 2e-2})).task
    with task.loader(0, 150) as batches:
        for step, batch in enumerate(batches):
            task.step(batch, step)
    return task.measure(task.held_out)["gain"]


def test_a_planted_teacher_is_learnt_and_a_shuffled_one_is_not(corpus, tmp_path):
    assert learn(corpus, tmp_path / "a", "features") > 0.5
    assert learn(corpus, tmp_path / "b", "shuffled") < 0.15


def test_a_shared_offset_flatters_a_cosine_and_leaves_no_gain():
    torch.manual_seed(0)
    vectors = 10.0 + torch.randn(200, 16)
    constant = vectors.mean(dim=0).expand(200, -1)
    raw = TargetScale(vectors, "none")
    found = raw.gains(constant, raw(vectors))
    assert found["cosine_similarity"] > 0.99 and abs(found["gain"]) < 1e-3
    for normalization in ("center", "standardize"):
        scale = TargetScale(vectors, normalization)
        target = scale(vectors)
        assert target.mean(dim=0).abs().max() < 1e-5
        assert abs(scale.gains(target, target)["constant"]) < 0.1
        assert scale.gains(target, target)["cosine_similarity"] == pytest.approx(1)
    assert TargetScale(vectors, "standardize")(vectors).std(dim=0, unbiased=False).allclose(torch.ones(16), atol=1e-4)


def test_no_constant_beats_the_constant_predictor():
    torch.manual_seed(0)
    scale = TargetScale(torch.randn(50, 4) + 1, "none")
    target = torch.randn(50, 4) + 1
    scale = TargetScale(target, "none")
    best = scale.gains(scale.constant.expand(50, -1), target)
    assert best["gain"].abs() < 1e-5
    others = [scale.gains(torch.randn(1, 4).expand(50, -1), target)["gain"] for _ in range(50)]
    assert max(others) <= 1e-6


def test_clusters_are_written_and_rare_kinds_are_drawn_as_often(tmp_path):
    manifest = write_kinds(tmp_path / "data", (6, 10, 20, 40))
    write_vectors(tmp_path / "features", manifest)
    clusters = {"num_clusters": 4, "min_size": 2, "max_ratio": 100.0}
    task = Trainer(distill_config(tmp_path, manifest, clusters=clusters)).task
    clips = task.store.clips
    drawn = [clips[clip].label for step in range(100) for clip, _ in task.batches.chosen(step)]
    shares = [drawn.count(f"kind{kind}") / len(drawn) for kind in range(4)]
    assert all(abs(share - 0.25) < 0.06 for share in shares)
    names = [clips[i].name for i in task.training.tolist()]
    assert len(set(read_clusters(tmp_path / "run" / "clusters.csv", names))) == 4
    facts = task.facts(1.0)
    assert 20 < facts["effective_clips"] < len(names) and "held_out/gain" in facts
    plain = Trainer(distill_config(tmp_path, manifest, clusters=None, output=str(tmp_path / "plain"))).task
    assert plain.facts(1.0)["effective_clips"] == pytest.approx(len(names))


def test_clips_kept_aside_and_those_without_a_vector_are_never_drawn(tmp_path):
    manifest = write_kinds(tmp_path / "data")
    write_vectors(tmp_path / "features", manifest)
    silent = read_manifest(manifest)[5]
    cache = FeatureCache(tmp_path / "features", "toy")
    info = cache.read(silent).info
    cache.write(silent, ClipFeatures(torch.zeros(1, info.dim), torch.zeros(1, dtype=torch.bool)), info)
    task = Trainer(distill_config(tmp_path, manifest)).task
    drawn = {clip for step in range(60) for clip, _ in task.batches.chosen(step)}
    assert 5 not in drawn and 5 not in task.held_out
    assert not drawn & set(task.held_out.tolist())
    assert len(drawn) == 48 - 8 - 1


def start(folder: Path, values: dict, rank: int, port: int) -> subprocess.Popen:
    """One of two processes."""
    settings = folder / "config.json"
    settings.write_text(json.dumps(values))
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "WORLD_SIZE": "2", "RANK": str(rank),
        "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }
    worker = Path(__file__).with_name("distill_worker.py")
    command = [sys.executable, str(worker), str(settings), str(folder / f"{rank}.safetensors")]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_two_processes_share_the_draws_of_one_and_train_as_it_does(corpus, tmp_path):
    values = distill_values(
        corpus,
        corpus / "data" / "train.jsonl",
        output=str(tmp_path / "run"),
        head={"hidden": 8, "dropout": 0.0},
        losses={"cosine": {}, "contrastive": {"weight": 0.5}},
        optimizer={"lr": 1e-2, "eps": 1e-4},
        max_steps=4,
    )
    port = free_port()
    running = [start(tmp_path, values, rank, port) for rank in range(2)]
    alone = distill_alone({**values, "output": str(tmp_path / "alone")})
    for process in running:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in range(2))
    assert torch.equal(torch.cat([first.pop("drawn"), second.pop("drawn")], dim=1), alone.pop("drawn"))
    for name, value in alone.items():
        assert torch.equal(first[name], second[name]), name
        assert torch.allclose(first[name], value, atol=1e-5, rtol=1e-5), name


@dataclass(frozen=True)
class LevelConfig:
    """No options."""


@teacher("level_of_clips")
class LevelTeacher:
    """A teacher of frames of two numbers; counts the clips that it is asked about."""

    Config = LevelConfig
    needs_words = False
    sample_rate = 4_000
    info = FeatureInfo("level", "last", 10.0, 0.0, "toy", 2)
    asked = 0

    def __init__(self, config):
        del config

    def prepare(self, clips, words):
        pass

    def features(self, batch):
        type(self).asked += len(batch)
        frames = [item.wav[: len(item.wav) // 400 * 400].view(-1, 400) for item in batch]
        rows = [torch.stack([x.square().mean(1), x.abs().amax(1)], 1) for x in frames]
        return [ClipFeatures(row, torch.arange(len(row)) > 0) for row in rows]


def test_a_teacher_of_frames_is_pooled_once_and_then_read_from_the_cache(corpus, tmp_path):
    pooled = {"type": "pooled", "of": {"type": "level_of_clips"}}
    source = {"features": str(tmp_path / "features"), "extract": pooled}
    task = Trainer(config(corpus, tmp_path / "run", teacher=source)).task
    assert LevelTeacher.asked == len(task.store.clips)
    again = Trainer(config(corpus, tmp_path / "again", teacher=source)).task
    assert LevelTeacher.asked == len(task.store.clips)
    assert torch.equal(task.vectors.values, again.vectors.values)
    # The second clip, by hand, from its second frame on.
    wav = torch.from_numpy(task.store.read(1, 0, 10**6))
    frames = wav[: len(wav) // 400 * 400].view(-1, 400)[1:]
    assert task.vectors.values[1, 0].item() == pytest.approx(frames.square().mean(1).mean().item(), rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clusters": {"num_clusters": 41}}, "41 clusters of 40 clips"),
        ({"teacher": {"features": "nowhere"}}, "48 of 48 clips have no features"),
        ({"data": {"manifests": []}}, r"config data\.manifests: none given"),
        ({"losses": {"cosin": {}}}, "did you mean 'cosine'"),
        ({"student": {"architecture": "mobil"}}, "unknown student 'mobil'"),
        ({"head": {"dropout": 1.0}}, "config head"),
        ({"ema_decay": 1.0}, "config ema_decay"),
        ({"init_from": "nowhere"}, "a student is config.json"),
    ],
)
def test_what_is_wrong_is_found_before_the_first_step(corpus, tmp_path, changes, message):
    with pytest.raises(CodecError, match=message):
        Trainer(config(corpus, tmp_path, **changes))


def test_frames_and_too_many_clips_kept_aside_are_refused(corpus, tmp_path):
    frames = FeatureInfo("toy", "last", 10.0, 0.0, "toy", 3)
    for clip in read_manifest(corpus / "data" / "train.jsonl"):
        count = round(clip.seconds * frames.rate)
        features = ClipFeatures(torch.ones(count, 3), torch.ones(count).bool())
        FeatureCache(tmp_path, "toy").write(clip, features, frames)
    with pytest.raises(CodecError, match="holds frames, not one vector for a clip"):
        Trainer(config(corpus, tmp_path / "run", teacher={"features": str(tmp_path), "name": "toy"}))
    data = {"manifests": [str(corpus / "data" / "train.jsonl")], "cache": str(corpus / "cache"), "held_out": 48}
    with pytest.raises(CodecError, match="48 clips are to be held out, and the teacher describes 48"):
        Trainer(config(corpus, tmp_path / "run", data=data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set of.type, of.model"),
        ({"of": {"type": "pooled", "of": {"type": "level_of_clips"}}}, "has one vector for a clip already"),
    ],
)
def test_a_pooled_teacher_needs_one_of_frames(options, message):
    from codec.teachers import build_teacher

    with pytest.raises(CodecError, match=message):
        build_teacher("x", {"type": "pooled", **options})


def test_the_verb_trains_reports_and_resumes(corpus, tmp_path, capsys):
    values = distill_values(
        corpus,
        corpus / "data" / "train.jsonl",
        output=str(tmp_path / "run"),
        teacher={"features": str(corpus / "features"), "name": "toy"},
        teacher_parameters=1e4,
        probe={"labels": ["label"], "shots": [1], "draws": 3, "folds": 2},
    )
    config_file = tmp_path / "toy.yaml"
    config_file.write_text(json.dumps(values))  # JSON is YAML.
    arguments = ["--config", str(config_file), "data.held_out=16"]
    assert train_main(arguments=[*arguments, "max_steps=4"]) == 0
    assert main([*arguments, "--resume"]) == 0
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    student = report["student"]
    assert student["ratio"] == pytest.approx(1e4 / student["parameters"])
    assert report["held_out"]["gain"] == pytest.approx(
        report["held_out"]["cosine_similarity"] - report["held_out"]["constant"]
    )
    names = [m["name"] for m in report["probes"]["student"]["measures"]]
    assert names == ["label_accuracy_1_shot", "label_accuracy_full"]
    assert report["probes"].keys() == {"teacher", "student", "untrained"}
    assert report["probes"]["teacher"]["measures"][1]["value"] == 1.0
    assert "weights, vectors of 12" in capsys.readouterr().err


def test_the_verb_refuses_configs_of_other_tasks(capsys):
    assert main(["--config", "tiny"]) == 1
    assert "codec distill" in capsys.readouterr().err
