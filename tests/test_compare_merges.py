"""Merges as rows of a comparison: they are what ``codec merge`` makes of the variants, and are scored as variants are."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from conftest import make_tiny_model
from training_runs import RECONSTRUCTION, run_values, write_corpus

pytest.importorskip("scipy")
pytest.importorskip("pystoi")
pytest.importorskip("jiwer")

import codec
from codec.audio.io import load_audio
from codec.compare import CompareConfig, compare
from codec.compare.figures import ctc_figures
from codec.compare.frontier import lines
from codec.compare.merges import plan_merges
from codec.compare.plan import plan_runs
from codec.compare.score import read_scores
from codec.config import from_dict, to_dict
from codec.data.batch import Batch
from codec.data.manifest import read_manifest
from codec.demo.run import BUNDLED_CLIP
from codec.errors import CodecError
from codec.merging.config import BranchConfig, MergeConfig
from codec.merging.merge import merge_family, read_family
from codec.merging.permute import permute_channels
from codec.settings import read_config
from codec.train.trainer import Trainer
from codec.train.types import LossInput

MERGES = {
    "back": {"of": ["plain"], "alpha": [0.0, 0.5]},
    "both": {"of": ["plain", "ctc"], "weights": [[0.7, 0.4]]},
    "whole": {"of": ["ctc"], "alpha": [1.0], "seeds": [0]},
    "stranger": {"of": ["plain", "ctc"], "weights": [[0.5, 0.5]], "permuted": ["ctc"]},
}


def values(folder, **changes):
    clips = {"manifests": [str(folder / "data" / "train.jsonl")]}
    return {
        "base": str(folder / "base.yaml"),
        "output": str(folder / "out"),
        "variants": {
            "plain": {},
            "ctc": {"losses": {"ctc": {"weight": 1.0, "head": {"hidden": 8, "layers": 0, "repeat": 2}}}},
        },
        "merges": MERGES,
        "seeds": [0, 1],
        "jobs": 0,
        "scoring": {"sound": {"all": {"clips": clips, "measures": ["si_sdr"]}}, "tokens": clips, "ctc": clips},
        "control": "back-0",
        "frontier": ["tokens/first", "all/si_sdr"],
        **changes,
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merges")
    manifest = write_corpus(folder / "data", seconds=(0.6, 0.5), text="a b")
    base = make_tiny_model()
    codec.save(base, folder / "start")
    changes = {
        **RECONSTRUCTION,
        "model": to_dict(base.config),
        "init_from": str(folder / "start"),
        "freeze": ["quantizer", "decoder"],
        "optimizer": {"lr": 0.01},
        "max_steps": 3,
    }
    (folder / "base.yaml").write_text(yaml.safe_dump(run_values(folder, manifest, **changes)))
    return folder


@pytest.fixture(scope="module")
def finished(folder):
    config = from_dict(CompareConfig, values(folder))
    assert compare(config) == 0
    return config


def test_every_merge_has_a_row_for_each_lambda_and_seed(finished):
    merges = plan_merges(finished, plan_runs(finished))
    rows = [(trial.variant, trial.seed, trial.weights) for trial in merges]
    assert rows[:5] == [
        ("back-0", 0, (0.0,)),
        ("back-0.5", 0, (0.5,)),
        ("both", 0, (0.7, 0.4)),
        ("whole", 0, (1.0,)),
        ("stranger", 0, (0.5, 0.5)),
    ]
    assert len(rows) == 9 and ("whole", 1, (1.0,)) not in rows
    assert {trial.config.max_steps for trial in merges if trial.variant == "both"} == {6}
    results = json.loads((Path(finished.output) / "results.json").read_text())
    assert list(results["variants"]) == finished.names
    assert (Path(finished.output) / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert [len(row["seeds"]) for row in results["variants"].values()] == [2, 2, 2, 2, 2, 1, 2]


def test_the_frontiers_lines_go_from_the_start_in_one_direction_each(folder):
    merges = {
        "back": {"of": ["plain"], "alpha": [0.5, 0.0, 0.25]},
        "both": {"of": ["plain", "ctc"], "weights": [[1.0, 1.0], [0.75, 0.25], [0.25, 0.25]]},
        "stranger": {"of": ["plain", "ctc"], "weights": [[0.5, 0.5]], "permuted": ["ctc"]},
    }
    config = from_dict(CompareConfig, values(folder, merges=merges))
    assert lines(config) == [
        ["back-0", "back-0.25", "back-0.5", "plain"],
        ["back-0", "both-0.25-0.25", "both-1-1"],
        ["back-0", "both-0.75-0.25"],
    ]


def test_a_merge_is_what_the_verb_makes_of_its_variants(finished, folder):
    runs = plan_runs(finished)
    (both,) = [m for m in plan_merges(finished, runs) if m.variant == "both" and m.seed == 1]
    assert [run.seed for run in both.parts] == [1, 1]
    lambdas = zip(both.parts, (0.7, 0.4), strict=True)
    branches = tuple(BranchConfig(str(run.export), weight, run.variant) for run, weight in lambdas)
    config = MergeConfig(base=str(folder / "start"), models=branches, output_dir="")
    expected = merge_family(read_family(config), config, config.weights).model.state_dict()
    found = codec.load(both.export, "cpu").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def scores(finished, name, seed=0):
    runs = plan_runs(finished)
    (run,) = [r for r in (*runs, *plan_merges(finished, runs)) if (r.variant, r.seed) == (name, seed)]
    return {score.key: score.value for score in read_scores(run, finished.scoring)}


def test_the_ends_score_as_the_start_and_the_branch_do(finished):
    start = scores(finished, "back-0")
    assert (start["tokens/first"], start["tokens/all"], start["tokens/perplexity"]) == (1.0, 1.0, 1.0)
    assert scores(finished, "whole") == scores(finished, "ctc")
    assert 0 < scores(finished, "ctc")["tokens/all"] < 1


def test_only_runs_with_one_head_of_their_own_are_read_by_it(finished):
    with_head = {name for name in finished.names if "ctc/cer" in scores(finished, name)}
    assert with_head == {"ctc", "whole"}


def test_a_heads_loss_is_that_of_training(finished):
    (run,) = [run for run in plan_runs(finished) if (run.variant, run.seed) == ("ctc", 0)]
    trainer = Trainer(run.config)
    parts = trainer.task.parts
    clip = read_manifest(run.config.data.manifests[0])[0]
    figure = ctc_figures(run, parts.state.released(), [clip])[0]
    # The averaged weights are those that were scored; give them to the network that is trained.
    parts.state.generator.codec.load_state_dict(parts.state.released().state_dict())
    parts.state.generator.eval()
    parts.state.objective.eval()
    wav = load_audio(clip.audio, 16_000).wav
    mask = torch.ones(1, len(wav) // 320, dtype=torch.bool)
    out = parts.state.generator(wav[None], mask, 0)
    inputs = LossInput(wav, out.fake, Batch(wav[None], mask, texts=("a b",)), out.quantizer)
    loss = parts.state.objective.losses["ctc"](inputs)
    assert figure.value == pytest.approx(float(loss), rel=1e-4)


def test_merges_are_not_scored_again(finished, monkeypatch):
    monkeypatch.setattr("codec.compare.worker.score_run", lambda *_: pytest.fail("scored again"))
    assert compare(finished) == 0


@pytest.mark.parametrize(
    ("merges", "message"),
    [
        ({"m": {"of": ["plain", "other"], "alpha": [1.0]}}, "expected some of plain, ctc"),
        ({"m": {"of": ["plain"], "weights": [[1.0, 2.0]]}}, "1 lambdas are needed"),
        ({"m": {"of": ["plain"]}}, "neither alpha nor weights"),
        ({"plain": {"of": ["plain"], "alpha": [1.0]}}, "becomes a folder of its own"),
        ({"m": {"of": ["plain"], "alpha": [1.0], "seeds": [7]}}, "not trained with seed 7"),
    ],
)
def test_merges_that_cannot_be_are_refused(folder, merges, message):
    with pytest.raises(CodecError, match=message):
        from_dict(CompareConfig, values(folder, merges=merges, control=None))


def test_variants_of_several_starts_are_refused(folder):
    variants = {"plain": {}, "ctc": {"init_from": "default"}}
    config = from_dict(CompareConfig, values(folder, variants=variants))
    with pytest.raises(CodecError, match="need one init_from"):
        plan_merges(config, plan_runs(config))


def test_the_shipped_merges_have_the_budget_of_what_they_are_compared_with():
    config = read_config(CompareConfig, "compare_task_vectors")
    runs = plan_runs(config)
    steps = {run.variant: run.config.max_steps for run in runs}
    merges = {trial.variant: trial.config.max_steps for trial in plan_merges(config, runs)}
    assert merges["merged-0.5-0.5"] == steps["joint"] == steps["ensemble"]
    # Each teacher sees as many crops: half of those of the longer run.
    speech, joint = (next(run.config.data for run in runs if run.variant == name) for name in ("speech", "joint"))
    assert speech.batch_size == joint.batch_size and set(joint.domain_weights.values()) == {0.5}


def test_permuted_channels_compute_the_same_and_cannot_be_added():
    model = codec.load("default", "cpu")
    other = permute_channels(model, seed=3)
    speech = load_audio(BUNDLED_CLIP, model.sample_rate).wav[:16_000]
    assert torch.equal(other.encode(speech).codes[:, 0], model.encode(speech).codes[:, 0])
    mine, theirs = model.state_dict(), other.state_dict()
    moved = {name for name in mine if not torch.equal(mine[name], theirs[name])}
    assert moved == {n for n in mine if n.startswith("encoder.backbone.")} - {"encoder.backbone.out.bias"}


def test_permuted_channels_reach_the_semantic_blocks_in_their_order():
    model = make_tiny_model(semantic_layers=1, semantic_from=2, semantic_dim=3)
    wav = 0.1 * torch.randn(1, 6_400)
    latent, other = (m.encoder(wav)[0] for m in (model, permute_channels(model, seed=3)))
    assert torch.allclose(latent, other, atol=1e-4)
