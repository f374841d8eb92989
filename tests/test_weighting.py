"""Adaptive weights of teachers: values by hand, absent teachers move nothing, scales do not matter."""

import math

import pytest
import torch

from codec.config import from_dict
from codec.errors import CodecError
from codec.train.config import TrainConfig
from codec.train.losses.registry import LossContext
from codec.train.objective import Objective
from codec.train.weighting import TeacherWeights, WeightingConfig

MODES = ["constant", "target_norm", "balancer", "dwa", "uncertainty"]
WEIGHTS = {"distill_a": 1.0, "distill_b": 0.3}


def weights(mode: str, **options) -> TeacherWeights:
    return TeacherWeights(WeightingConfig(mode=mode, **options), WEIGHTS)


def values(a: float, b: float, latent: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
    """Two losses with these values, which depend on two halves of a latent."""
    latent = torch.ones(1, 2, 1) if latent is None else latent
    return {"distill_a": a * latent[:, 0].mean(), "distill_b": b * latent[:, 1].mean()}


def factors(module: TeacherWeights, a: float, b: float) -> list[float]:
    """Effective weights over given ones, after a step with these losses."""
    latent = torch.ones(1, 2, 1, requires_grad=True)
    _, effective = module(values(a, b, latent), latent)
    return [float(effective[name]) / WEIGHTS[name] for name in WEIGHTS]


def test_constant_weights_are_the_given_ones():
    losses = values(2.0, 5.0)
    weighed, effective = weights("constant")(losses, torch.ones(1, 2, 1))
    assert weighed == losses and [float(w) for w in effective.values()] == pytest.approx([1.0, 0.3])


def test_target_norm_divides_by_the_mean_of_the_first_steps():
    module = weights("target_norm", window=2)
    assert factors(module, 2.0, 8.0) == pytest.approx([1 / 2, 1 / 8])
    assert factors(module, 4.0, 0.0) == pytest.approx([1 / 3, 1 / 8])  # b is absent
    assert factors(module, 9.0, 4.0) == pytest.approx([1 / 3, 1 / 6])  # a has had its window
    assert factors(module, 9.0, 1.0) == pytest.approx([1 / 3, 1 / 6])


def test_dynamic_weight_averaging_is_the_papers():
    module = weights("dwa", window=2, temperature=2.0)
    for step in range(4):
        assert factors(module, [4.0, 2.0][step // 2], [8.0, 8.0][step // 2]) == pytest.approx([1.0, 1.0])
    # Means of the windows: a fell from 4 to 2, b stayed.
    exponentials = [math.exp(0.5 / 2), math.exp(1.0 / 2)]
    expected = [2 * value / sum(exponentials) for value in exponentials]
    assert factors(module, 1.0, 1.0) == pytest.approx(expected, rel=1e-5)


def test_uncertainty_has_the_optimum_of_its_formula():
    module = weights("uncertainty")
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2)
    for _ in range(400):
        optimizer.zero_grad()
        weighed, _ = module(values(4.0, 0.25), torch.ones(1, 2, 1))
        torch.stack(list(weighed.values())).sum().backward()
        optimizer.step()
    # d/ds (exp(-s) L + s) = 0 at exp(-s) = 1 / L.
    assert factors(module, 4.0, 0.25) == pytest.approx([1 / 4, 4.0], rel=1e-2)


def test_balanced_gradients_have_the_norms_that_the_weights_ask_for():
    module = weights("balancer", total_norm=2.0, ema_decay=0.5)
    for a, b in [(3.0, 1.0), (3.0, 1.0), (3.0, 1.0)]:
        latent = torch.ones(1, 2, 1, requires_grad=True)
        weighed, _ = module(values(a, b, latent), latent)
        sum(WEIGHTS[name] * value for name, value in weighed.items()).backward()
    assert latent.grad[0, 0].item() == pytest.approx(2.0 * 1.0 / 1.3, rel=1e-5)
    assert latent.grad[0, 1].item() == pytest.approx(2.0 * 0.3 / 1.3, rel=1e-5)


@pytest.mark.parametrize("scaled", ["distill_a", "distill_b"])
def test_a_teachers_scale_does_not_change_the_balanced_gradient(scaled):
    def gradient(scale: float) -> torch.Tensor:
        module, generator = weights("balancer", ema_decay=0.9), torch.Generator().manual_seed(0)
        for _ in range(30):
            latent = torch.randn(3, 2, 5, generator=generator).requires_grad_()
            losses = {
                name: (latent[:, row] - row).square().mean() * (scale if name == scaled else 1.0)
                for row, name in enumerate(WEIGHTS)
            }
            weighed, _ = module(losses, latent)
            sum(WEIGHTS[name] * value for name, value in weighed.items()).backward()
        return latent.grad

    torch.testing.assert_close(gradient(1000.0), gradient(1.0), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_teacher_without_data_moves_nothing_and_adds_nothing(mode):
    module = weights(mode, window=3)
    for _ in range(7):
        factors(module, 2.0, 8.0)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    latent = torch.ones(1, 2, 1, requires_grad=True)
    weighed, _ = module(values(2.0, 0.0, latent), latent)
    assert weighed["distill_b"].item() == 0.0
    sum(weighed.values()).backward()
    assert float(latent.grad[0, 1]) == 0.0 != float(latent.grad[0, 0])
    if mode == "uncertainty":
        assert module.log_variance.grad.tolist()[1] == 0.0 != module.log_variance.grad.tolist()[0]
    for key in ("norms", "masses", "sums", "counts"):
        if key in before:
            assert torch.equal(before[key][1], module.state_dict()[key][1])


@pytest.mark.parametrize("mode", MODES)
def test_what_was_saved_goes_on_as_it_was(mode):
    one, other = weights(mode, window=2), weights(mode, window=2)
    for step in range(5):
        factors(one, 4.0 - step / 2, 8.0)
    other.load_state_dict(one.state_dict())
    for step in range(3):
        assert factors(one, 2.0, 7.0 - step) == factors(other, 2.0, 7.0 - step)


def test_only_teachers_are_weighted():
    context = LossContext(16_000, 3, 4, teacher_dims={"a": 5})
    losses = {"waveform": {"weight": 1.0}, "distill_a": {"weight": 0.5, "axis": "t"}}
    objective = Objective(losses, context, WeightingConfig(mode="target_norm"))
    given = {"waveform": torch.tensor(4.0), "distill_a": torch.tensor(2.0)}
    weighed, effective = objective.weigh(given, torch.zeros(1, 3, 2))
    assert weighed["waveform"] is given["waveform"] and list(effective) == ["distill_a"]
    assert float(effective["distill_a"]) == 0.25 and float(objective.total(weighed)) == 4.5


@pytest.mark.parametrize("options, message", [
    ({"mode": "gradnorm"}, "weighting.mode: 'gradnorm' is none of constant"),
    ({"window": 0}, "weighting.window: expected more than 0"),
    ({"temperature": 0.0}, "weighting.temperature: expected more than 0"),
    ({"ema_decay": 1.0}, r"weighting.ema_decay: expected a number in \[0, 1\)"),
])  # fmt: skip
def test_bad_settings_are_refused(options, message):
    with pytest.raises(CodecError, match=message):
        from_dict(TrainConfig, {"losses": {"waveform": {"weight": 1}}, "weighting": options})
