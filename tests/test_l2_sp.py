"""The loss l2_sp: the distance from the start, over the weights that are trained; and steps that decode nothing."""

import pytest
import torch
from conftest import make_tiny_model
from training_runs import RECONSTRUCTION, run_config, write_corpus

import codec
from codec.errors import CodecError
from codec.train.losses.l2_sp import L2SPLoss
from codec.train.losses.registry import LossContext
from codec.train.trainer import Trainer

CTC = {"weight": 1.0, "head": {"hidden": 8, "layers": 0, "repeat": 2}}
HELD = {"include": ["encoder.*"]}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    codec.save(make_tiny_model(), folder / "base")
    return write_corpus(folder, seconds=(0.4, 0.3), text="a b")


def trainer(folder, manifest, weight=None, **changes):
    base = manifest.parent / "base"
    held = {} if weight is None else {"l2_sp": {"weight": weight, **HELD}}
    changes = {
        "model": codec.load(base, "cpu").config,
        "init_from": str(base),
        "freeze": ["quantizer", "decoder"],
        "losses": {"ctc": CTC, "commitment": {"weight": 0.1}, **held},
        "discriminators": {},
        "optimizer": {"lr": 0.01},
        "max_steps": 8,
        **changes,
    }
    return Trainer(run_config(folder, manifest, **changes))


def encoder(run):
    return {n: t.clone() for n, t in run.task.parts.state.generator.codec.named_parameters() if n.startswith("encoder.")}


def test_the_loss_is_half_the_square_of_the_distance():
    model = make_tiny_model().requires_grad_(True)
    model.decoder.requires_grad_(False)
    loss = L2SPLoss(L2SPLoss.Config(include=("encoder.*", "decoder.*")), LossContext(16_000, 8, 8))
    loss.watch(model)
    assert loss(None).item() == 0
    weight = next(model.encoder.parameters())
    with torch.no_grad():
        weight += 0.5
        next(model.decoder.parameters()).add_(1.0)
    value = loss(None)
    assert float(value) == pytest.approx(0.5 * 0.25 * weight.numel())
    value.backward()
    assert torch.allclose(weight.grad, torch.full_like(weight, 0.5))
    loss.restart()
    assert loss(None).item() == 0


def test_a_penalty_keeps_the_encoder_near_its_start(tmp_path, manifest):
    moved = []
    for number, weight in enumerate((None, 1.0, 100.0)):
        run = trainer(tmp_path / str(number), manifest, weight)
        start = encoder(run)
        run.run()
        moved.append(float(sum((t - start[n]).square().sum() for n, t in encoder(run).items())))
    assert moved[0] > moved[1] > moved[2] > 0


def test_a_resumed_run_remembers_its_start(tmp_path, manifest):
    whole = trainer(tmp_path / "a", manifest, 10.0)
    whole.run()
    trainer(tmp_path / "b", manifest, 10.0).run(until=4)
    resumed = trainer(tmp_path / "b", manifest, 10.0, resume=True)
    resumed.run()
    mine = encoder(resumed)
    assert all(torch.equal(mine[name], tensor) for name, tensor in encoder(whole).items())


def test_weights_that_are_not_trained_cannot_be_held(tmp_path, manifest):
    with pytest.raises(CodecError, match=r"losses.l2_sp.include: no weight that is trained fits decoder.\*"):
        trainer(tmp_path, manifest, losses={"ctc": CTC, "l2_sp": {"weight": 1.0, "include": ["decoder.*"]}})


def test_a_frozen_decoder_that_no_loss_hears_is_not_run(tmp_path, manifest, monkeypatch):
    results = []
    for number, silent in enumerate((True, False)):
        run = trainer(tmp_path / str(number), manifest, 1.0)
        assert run.task.parts.train_step.decodes is False
        if silent:
            monkeypatch.setattr(run.task.parts.state.generator.codec.decoder, "forward", None)
        else:
            run.task.parts.train_step.decodes = True
        run.run(until=3)
        results.append(encoder(run))
    assert all(torch.equal(results[1][name], tensor) for name, tensor in results[0].items())


@pytest.mark.parametrize("changes", [{"freeze": ["quantizer"]}, {"losses": RECONSTRUCTION["losses"]}])
def test_others_are_decoded(tmp_path, manifest, changes):
    assert trainer(tmp_path, manifest, **changes).task.parts.train_step.decodes is True
