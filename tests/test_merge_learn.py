"""Lambdas by gradient: planted optima are found, and nothing else moves."""

import json
import statistics

import pytest
import soundfile
import torch
from command import run_ok
from merge_models import nudge, save_branch, write_config

import codec
from codec.errors import CodecError
from codec.merging.learn import fit, layers_of
from codec.settings import CONFIGS


@pytest.mark.parametrize("planted", [[[0.7, -0.2]], [[0.7, -0.2], [0.1, 1.3]]], ids=["model", "layer"])
def test_gradient_finds_planted_lambdas(planted):
    generator = torch.Generator().manual_seed(0)
    names = ["one.0.w", "two.0.w"]
    start, *vectors = [{name: torch.randn(6, 5, generator=generator) for name in names} for _ in range(3)]
    groups = [names] if len(planted) == 1 else [[name] for name in names]
    rows = {name: row for group, row in zip(groups, planted, strict=True) for name in group}
    target = {n: start[n] + sum(f * v[n] for f, v in zip(rows[n], vectors, strict=True)) for n in names}

    def loss(state):
        return sum((state[name] - target[name]).square().mean() for name in names)

    before = {name: tensor.clone() for name, tensor in start.items()}
    found = fit(start, vectors, groups, torch.zeros(len(groups), 2), loss, steps=200, lr=0.1)
    torch.testing.assert_close(found, torch.tensor(planted), atol=1e-3, rtol=0)
    assert all(torch.equal(start[name], before[name]) and start[name].grad is None for name in names)


def test_a_loss_that_is_not_finite_ends_the_learning():
    start, vector = {"w": torch.ones(2)}, {"w": torch.ones(2)}
    with pytest.raises(CodecError, match="loss is inf in step 0; lower learn.lr"):
        fit(start, [vector], [["w"]], torch.zeros(1, 1), lambda state: state["w"].sum() * torch.inf, 3, 0.1)


def test_layers_are_named_up_to_their_number():
    names = ["encoder.embed.weight", "encoder.blocks.0.a.weight", "encoder.blocks.0.b", "encoder.blocks.10.b"]
    assert list(layers_of(names)) == ["encoder.embed.*", "encoder.blocks.0.*", "encoder.blocks.10.*"]


@pytest.mark.parametrize("per", ["model", "layer"])
def test_learning_undoes_what_was_done_to_a_good_encoder(per, tmp_path, capfd):
    """A base that is a trained model moved away: the way back is lambda = 1 on its branch, 0 on a stranger's."""
    good = codec.load("default", "cpu")
    base = nudge(good, 1, 0.25)
    codec.save(base, tmp_path / "base")
    save_branch(good, base, tmp_path / "back")
    save_branch(nudge(base, 2, 0.25), base, tmp_path / "away")
    wav, rate = soundfile.read(CONFIGS.parent / "assets" / "speech.flac")
    (tmp_path / "clips").mkdir()
    soundfile.write(tmp_path / "clips" / "one.wav", wav[rate : 3 * rate], rate)
    learning = {
        "clips": {"manifests": [str(tmp_path / "clips")]},
        "per": per,
        "steps": 20,
        "lr": 0.15,
        "batch_size": 2,
        "seconds": 0.5,
    }
    folders = tmp_path / "base", (tmp_path / "back", tmp_path / "away")
    models = [{"path": str(folder), "weight": 0.0} for folder in folders[1]]
    config = write_config(tmp_path, folders, tmp_path, learn=learning, models=models, clips=None)
    run_ok(capfd, "merge", config, "--learn", per)
    report = json.loads((tmp_path / "merged" / "merge.json").read_text())
    learned = report["learned"]
    assert learned["after"] < 0.8 * learned["before"], learned
    weights = [model["weight"] for model in report["models"]]
    # Some layers hardly matter, and their lambdas stay anywhere.
    middle = weights if per == "model" else [statistics.median(w.values()) for w in weights]
    assert middle[0] == pytest.approx(1.0, abs=0.35) and middle[1] == pytest.approx(0.0, abs=0.35)
    if per == "layer":
        assert "encoder.backbone.blocks.0.*" in weights[0] and len(weights[0]) > 5
    # The decoder is the base's: only coefficients learned.
    merged = codec.load(tmp_path / "merged", "cpu")
    assert all(
        torch.equal(t, good.state_dict()[n])
        for n, t in merged.state_dict().items()
        if n.startswith(("decoder.", "quantizer."))
    )
