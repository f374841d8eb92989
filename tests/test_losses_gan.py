"""Hand-computed values of adversarial, feature-matching and commitment losses."""

import math

import pytest
import torch
from loss_inputs import CONTEXT, loss_input

from codec.discriminators.objectives import discriminator_terms, generator_loss, gradient_penalties, reduce
from codec.discriminators.registry import Judgement
from codec.errors import CodecError
from codec.train.losses.registry import build_loss

REAL = [torch.tensor([2.0, 0.5]), torch.tensor([[-1.0]])]
FAKE = [torch.tensor([-2.0, 0.5]), torch.tensor([[3.0]])]


NEAR, FAR, LEVEL = math.log1p(math.exp(-4)), math.log1p(math.exp(4)), math.log(2)


# hinge: sub 1: real (0 + .5) / 2, fake (0 + 1.5) / 2; sub 2: real 2, fake 4.
# lsgan: sub 1: real (1 + .25) / 2, fake (4 + .25) / 2; sub 2: real 4, fake 9.
# relativistic, fake less real: sub 1: -4 and 0; sub 2: 4.
@pytest.mark.parametrize(
    "kind, reduction, expected",
    [
        *[("hinge", "mean", 3.5), ("hinge", "sum", 7.0), ("lsgan", "mean", 7.875), ("lsgan", "sum", 15.75)],
        ("relativistic", "sum", (NEAR + LEVEL) / 2 + FAR),
    ],
)
def test_discriminator_loss_value(kind, reduction, expected):
    assert reduce(discriminator_terms(REAL, FAKE, kind), reduction).item() == pytest.approx(expected)


# hinge: sub 1: (3 + .5) / 2, sub 2: 0.  lsgan: sub 1: (9 + .25) / 2, sub 2: 4.
# relativistic, real less fake: sub 1: 4 and 0; sub 2: -4.
@pytest.mark.parametrize(
    "kind, reduction, expected",
    [
        *[("hinge", "mean", 0.875), ("hinge", "sum", 1.75), ("lsgan", "mean", 4.3125), ("lsgan", "sum", 8.625)],
        ("relativistic", "sum", (FAR + LEVEL) / 2 + NEAR),
    ],
)
def test_adversarial_value(kind, reduction, expected):
    assert generator_loss(FAKE, REAL, kind, reduction).item() == pytest.approx(expected)
    term = build_loss("adversarial", {"kind": kind, "reduction": reduction}, CONTEXT)
    assert term(loss_input(judgement=Judgement(REAL, FAKE, [], []))).item() == pytest.approx(expected)


@pytest.mark.parametrize("length", [5, 500])
def test_a_gradient_penalty_is_the_squared_slope_whatever_the_length(length):
    """Each logit of the first sub-discriminator is three times a sample; the second does not listen."""
    wav = torch.randn(2, length, requires_grad=True)
    scale = torch.tensor(3.0, requires_grad=True)
    first, second = gradient_penalties([scale * wav, 0.0 * wav], wav)
    assert (first.item(), second.item()) == (pytest.approx(9.0), 0.0)
    first.backward()
    assert scale.grad.item() == pytest.approx(6.0)


def test_unequal_numbers_of_discriminators_are_refused():
    with pytest.raises(ValueError, match="zip"):
        discriminator_terms(REAL, FAKE[:1], "hinge")
    with pytest.raises(CodecError, match=r"losses.adversarial.kind: 'wgan' is none of hinge, lsgan, relativistic"):
        build_loss("adversarial", {"kind": "wgan"}, CONTEXT)


# Maps: |2 - 1| = 1 at mean 2; (|1 - 1| + |-3 - 1|) / 2 = 2 at mean 2; |4 - 1| = 3 at mean 4.
@pytest.mark.parametrize(
    "normalize, reduction, expected",
    [(False, "mean", 2.0), (False, "sum", 6.0), (True, "mean", 2.25 / 3), (True, "sum", 2.25)],
)
def test_feature_matching_value(normalize, reduction, expected):
    real = [[torch.tensor([2.0]), torch.tensor([[1.0, -3.0]])], [torch.tensor([4.0])]]
    fake = [[torch.tensor([1.0]), torch.tensor([[1.0, 1.0]])], [torch.tensor([1.0])]]
    term = build_loss("feature_matching", {"normalize": normalize, "reduction": reduction}, CONTEXT)
    assert term(loss_input(judgement=Judgement(REAL, FAKE, real, fake))).item() == pytest.approx(expected)


def test_dead_feature_map_stays_finite():
    fake = torch.tensor([0.5], requires_grad=True)
    term = build_loss("feature_matching", {}, CONTEXT)
    term(loss_input(judgement=Judgement(REAL, FAKE, [[torch.zeros(1)]], [[fake]]))).backward()
    assert torch.isfinite(fake.grad).all()


@pytest.mark.parametrize("name", ["adversarial", "feature_matching"])
def test_no_judgement_costs_nothing(name):
    value = build_loss(name, {}, CONTEXT)(loss_input())
    assert value.item() == 0.0 and not value.requires_grad


def test_commitment_is_the_quantizers():
    latent = torch.tensor([[[1.0, 2.0], [0.0, 0.0], [3.0, 0.0]]], requires_grad=True)
    value = build_loss("commitment", {}, CONTEXT)(loss_input(latent=latent))
    assert value.item() == pytest.approx((0.25 + 1.0 + 2.25) / 6)  # the first layer takes half
    value.backward()
    torch.testing.assert_close(latent.grad, latent.detach() / 6)
