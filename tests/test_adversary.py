"""The timetable of adversarial training: discriminators alone, a rising weight, and an end when one has won."""

import pytest
import torch
from training_runs import run_config, run_values, write_corpus

from codec.errors import CodecError
from codec.train.trainer import Trainer


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus"))


def make_trainer(folder, manifest, **adversary):
    losses = run_values(folder, manifest)["losses"]
    losses["adversarial"]["kind"] = adversary.get("kind", "hinge")
    return Trainer(run_config(folder, manifest, adversary=adversary, losses=losses, precision="fp32"))


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_the_generator_stands_still_while_discriminators_warm_up(tmp_path, manifest):
    trainer = make_trainer(tmp_path, manifest, start_step=3, warmup_steps=2)
    parts = trainer.task.parts
    for step in range(7):
        codec, judges = weights(parts.state.generator.codec), weights(parts.state.discriminators)
        values = parts.train_step(parts.batches.batch(step), step)
        still = step in (3, 4)
        assert torch.equal(codec, weights(parts.state.generator.codec)) == still
        assert torch.equal(judges, weights(parts.state.discriminators)) == (step < 3)
        assert ("total" in values) != still


def test_a_run_with_warm_up_logs_and_ends(tmp_path, manifest):
    config = run_config(
        tmp_path, manifest, adversary={"start_step": 0, "warmup_steps": 3, "ramp_steps": 2}, log_every=1
    )
    Trainer(config).run()
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert ["adversarial" in line for line in lines][:4] == [False, False, False, True]


def test_the_weight_of_adversarial_losses_rises(tmp_path, manifest):
    trainer = make_trainer(tmp_path, manifest, start_step=2, warmup_steps=1, ramp_steps=3)
    adversary = trainer.task.parts.train_step.adversary
    assert [adversary.strength(step) for step in range(8)] == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1]
    objective = trainer.task.parts.state.objective
    values = {name: torch.tensor(2.0) for name in objective.losses}
    full, half = objective.total(values), objective.total(values, torch.tensor(0.5))
    # Weights of .1 for adversarial and feature_matching.
    torch.testing.assert_close(full - half, torch.tensor(0.5 * 2.0 * 0.2))


def test_discriminators_see_the_end_of_each_crop(tmp_path, manifest):
    trainer = make_trainer(tmp_path, manifest, crop_frames=5)
    adversary = trainer.task.parts.train_step.adversary
    adversary.prepare(0)
    fake = torch.randn(2, 6400, requires_grad=True)
    judgement = adversary.judge(torch.randn(2, 6400), fake)
    sum(logits.square().sum() for logits in judgement.fake_logits).backward()
    assert not fake.grad[:, :-1600].any()
    assert fake.grad[:, -1600:].abs().sum() > 0


@pytest.mark.parametrize("kind", ["hinge", "lsgan", "relativistic"])
def test_a_run_ends_when_a_discriminator_has_won(tmp_path, manifest, kind):
    trainer = make_trainer(tmp_path, manifest, kind=kind)
    discriminators, step = trainer.task.parts.state.discriminators, trainer.task.parts.train_step
    step.check()
    real, fake = torch.randn(2, 6400), torch.zeros(2, 6400)
    with torch.no_grad():
        discriminators(real, fake)
    step.check()
    discriminators._average[1] = 0.005
    with pytest.raises(CodecError, match=r"multiband/1 tell decoded from real audio without error"):
        step.check()
    # Averages begin at chance, so that nothing has won by its first step.
    assert discriminators._average[0] > 0.1


def test_a_relativistic_run_with_a_gradient_penalty_trains_both_sides(tmp_path, manifest):
    trainer = make_trainer(tmp_path, manifest, start_step=1, kind="relativistic", gradient_penalty=0.1)
    parts = trainer.task.parts
    for step in range(4):
        codec, judges = weights(parts.state.generator.codec), weights(parts.state.discriminators)
        values = parts.train_step(parts.batches.batch(step), step)
        assert all(value.isfinite().all() for value in values.values())
        assert not torch.equal(codec, weights(parts.state.generator.codec))
        assert torch.equal(judges, weights(parts.state.discriminators)) == (step < 1)
    assert parts.state.discriminators.penalty == 0.1


@pytest.mark.parametrize(
    "adversary, message",
    [
        ({"kind": "lsgan"}, "losses.adversarial.kind: is 'hinge' where adversary.kind is 'lsgan'; set them alike"),
        ({"gradient_penalty": -1.0}, "gradient_penalty must be 0 or more"),
    ],
)
def test_sides_of_different_kinds_and_negative_penalties_are_refused(tmp_path, manifest, adversary, message):
    with pytest.raises(CodecError, match=message):
        run_config(tmp_path, manifest, adversary=adversary)


def test_a_balancer_and_a_ramp_exclude_each_other(tmp_path, manifest):
    with pytest.raises(CodecError, match=r"adversary\.ramp_steps: a balancer undoes"):
        run_config(tmp_path, manifest, balancer={}, adversary={"ramp_steps": 5})
    with pytest.raises(CodecError, match=r"adversary\.crop_frames: expected at least 1"):
        run_config(tmp_path, manifest, adversary={"crop_frames": 0})
    with pytest.raises(CodecError, match="warmup_steps, ramp_steps and gradient_penalty must be 0 or more"):
        run_config(tmp_path, manifest, adversary={"warmup_steps": -1})
