"""Embedding losses: hand-computed values, invariances, and where gradients go."""

import math

import pytest
import torch
from torch import tensor

from codec.distilling.losses import EMBEDDING_LOSSES, EmbeddingObjective
from codec.errors import CodecError

STUDENT = tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
TEACHER = tensor([[3.0, 4.0, 0.0], [0.0, 1.0, 0.0]])
NAMES = ("cosine", "l1", "mse", "kl", "contrastive")


def value(name, student=STUDENT, teacher=TEACHER, **options):
    return EmbeddingObjective({name: options})(student, teacher)[0].item()


def test_hand_computed_values():
    assert value("cosine") == pytest.approx((0.4 + 0.0) / 2)
    assert value("l1") == pytest.approx((2 + 4 + 1) / 6)
    assert value("mse") == pytest.approx((4 + 16 + 1) / 6)


def test_kl_of_a_hand_computed_pair():
    student, teacher = tensor([[0.0, 0.0]]), tensor([[math.log(3.0), 0.0]])
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert value("kl", student, teacher) == pytest.approx(expected, rel=1e-5)
    # T^2 times the divergence of flatter distributions.
    half = math.sqrt(3.0) / (1 + math.sqrt(3.0))
    flat = half * math.log(half / 0.5) + (1 - half) * math.log((1 - half) / 0.5)
    assert value("kl", student, teacher, temperature=2.0) == pytest.approx(4 * flat, rel=1e-5)


def test_contrastive_of_a_hand_computed_pair():
    # Cosines: own 0.6 and 1, crossed 0 and 0.8.
    rows = -(math.log(math.exp(0.6) / (math.exp(0.6) + 1)) + math.log(math.e / (math.exp(0.8) + math.e)))
    columns = -(math.log(math.exp(0.6) / (math.exp(0.6) + math.exp(0.8))) + math.log(math.e / (math.e + 1)))
    assert value("contrastive", temperature=1.0) == pytest.approx((rows + columns) / 4, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_equal_vectors_cost_least_and_no_gradient_reaches_the_teacher(name):
    torch.manual_seed(0)
    teacher = torch.randn(4, 6, requires_grad=True)
    student = (teacher.detach() + 0.5 * torch.randn(4, 6)).requires_grad_(True)
    loss, _ = EmbeddingObjective({name: {}})(student, teacher)
    loss.backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0
    assert value(name, teacher.detach(), teacher.detach()) < loss.item()


@pytest.mark.parametrize(("name", "ignores"), [("cosine", True), ("contrastive", True), ("l1", False), ("mse", False), ("kl", False)])
def test_length_counts_only_where_it_should(name, ignores):
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4), torch.randn(5, 4)
    for scaled in (value(name, 3 * student, teacher), value(name, student, 3 * teacher)):
        assert (scaled == pytest.approx(value(name, student, teacher), rel=1e-4)) == ignores


def test_a_sum_has_each_loss_with_its_weight_and_own_name():
    objective = EmbeddingObjective({"cosine": {"weight": 2.0}, "sharp": {"type": "kl", "temperature": 0.5, "weight": 0.1}})
    total, values = objective(STUDENT, TEACHER)
    assert list(values) == ["cosine", "sharp"]
    assert total.item() == pytest.approx(2 * values["cosine"].item() + 0.1 * values["sharp"].item())


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({}, "config losses: none given; name at least one of .*cosine"),
        ({"cosin": {}}, "losses.cosin: unknown embedding loss 'cosin'; did you mean 'cosine'"),
        ({"kl": {"temperature": 0.0}}, "temperature: expected more than 0"),
        ({"contrastive": {"temperature": -1}}, "temperature: expected more than 0"),
        ({"mse": {"temperature": 1.0}}, "config losses.mse: unknown key 'temperature'"),
        ({"mse": {"weight": -1}}, "config losses.mse.weight: expected a number >= 0"),
        ({"gain": {"type": "mse"}}, "config losses.gain: not a name for a loss"),
    ],
)
def test_wrong_losses_are_refused(losses, message):
    with pytest.raises(CodecError, match=message):
        EmbeddingObjective(losses)


def test_vectors_of_other_shapes_never_broadcast():
    with pytest.raises(ValueError, match=r"expected two \(B, D\)"):
        EmbeddingObjective({"mse": {}})(torch.zeros(2, 3), torch.zeros(1, 3))


def test_the_five_of_the_paper_are_registered():
    assert set(NAMES) <= set(EMBEDDING_LOSSES)
