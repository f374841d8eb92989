"""Distillation: values by hand, and gradients that reach every unmasked frame and no other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import CONTEXT, loss_input
from torch import Tensor

from codec.data.batch import TeacherFrames
from codec.errors import CodecError
from codec.teachers.similarity import d_axis, t_axis
from codec.train.losses.distillation import Distillation
from codec.train.losses.registry import LossContext, build_loss
from codec.train.losses.standardize import Standardize
from codec.train.objective import Objective

ATTACH = ["rvq1", "rvq1-2", "rvq1-4", "latent"]


def penalty(cosine: float) -> float:
    return math.log(1 + math.exp(-cosine))


def evaluate(term: Distillation, latent: Tensor, features: Tensor, mask: Tensor) -> Tensor:
    return term(loss_input(latent=latent, teachers={"lm": TeacherFrames(features, mask)}))


def make_term(seed: int = 0, **options) -> Distillation:
    torch.manual_seed(seed)
    return build_loss("distill_lm", options, CONTEXT)


# Two items, two dimensions, three frames, the last of item 0 masked; item 1 has but one frame.
STUDENT = torch.tensor([[[1.0, 0.0], [0.0, 2.0], [9.0, -9.0]], [[2.0, 1.0], [7.0, 7.0], [7.0, 7.0]]])
TEACHER = torch.tensor([[[1.0, 3.0], [1.0, 4.0], [-5.0, 5.0]], [[-1.0, 3.0], [5.0, 5.0], [5.0, 5.0]]])
MASK = torch.tensor([[True, True, False], [True, False, False]])


def test_d_axis_value():
    values, counts = d_axis(STUDENT, TEACHER, MASK, "log_sigmoid")
    # Item 0: d 0: (1,0).(1,1) = 1/sqrt 2; d 1: (0,2).(3,4) = 8/10. Item 1: signs -1 and 1.
    first = (penalty(1 / math.sqrt(2)) + penalty(0.8)) / 2
    second = (penalty(-1) + penalty(1)) / 2
    torch.testing.assert_close(values, torch.tensor([first, second]))
    assert counts.tolist() == [True, True]
    plain, _ = d_axis(STUDENT, TEACHER, MASK, "one_minus_cosine")
    torch.testing.assert_close(plain, torch.tensor([1 - (1 / math.sqrt(2) + 0.8) / 2, 1.0]))


def test_t_axis_value():
    values, counts = t_axis(STUDENT, TEACHER, MASK, "log_sigmoid", l1_weight=0.5)
    # Frames: (1,0).(1,3) = 1/sqrt 10; (0,2).(1,4) = 4/sqrt 17; (2,1).(-1,3) = 1/sqrt 50.
    # Mean |F - Z|: 1.5, 1.5 and 2.5.
    expected = [penalty(10**-0.5) + 0.75, penalty(4 * 17**-0.5) + 0.75, penalty(50**-0.5) + 1.25]
    torch.testing.assert_close(values[MASK], torch.tensor(expected))
    assert torch.equal(counts, MASK)


def test_bounds_of_the_penalty():
    features = torch.tensor([[[1.0], [2.0], [-1.0]]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert d_axis(features, 3 * features, mask, "log_sigmoid")[0].item() == pytest.approx(0.3133, abs=1e-4)
    assert d_axis(features, -features, mask, "log_sigmoid")[0].item() == pytest.approx(1.3133, abs=1e-4)


@pytest.mark.parametrize("axis, expected", [
    ("d", (penalty(1 / math.sqrt(2)) + penalty(0.8) + penalty(-1) + penalty(1)) / 4),
    ("t", (penalty(10**-0.5) + 1.5 + penalty(4 * 17**-0.5) + 1.5 + penalty(50**-0.5) + 2.5) / 3),
])  # fmt: skip
def test_loss_value_through_an_identity_head(axis, expected):
    context = LossContext(sample_rate=16_000, latent_dim=2, num_codebooks=4, teacher_dims={"lm": 2})
    term = build_loss("distill_lm", {"axis": axis, "attach": "rvq1"}, context)
    torch.nn.init.eye_(term.head.weight)
    torch.nn.init.zeros_(term.head.bias)
    latent = 2 * STUDENT.transpose(1, 2)  # of which the first layer takes half
    assert evaluate(term, latent, TEACHER, MASK).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("axis", ["d", "t"])
@pytest.mark.parametrize("attach", ATTACH)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), frames=st.integers(2, 12))
def test_gradient_reaches_every_unmasked_frame_and_no_masked_one(axis, attach, seed, frames):
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(3, 3, frames, generator=generator).requires_grad_()
    features = torch.randn(3, frames, 5, generator=generator)
    mask = torch.rand(3, frames, generator=generator) < 0.6
    mask[0, :2] = True
    mask[1] = False
    # One frame alone has a cosine of +-1 over time whatever its size, and rightly no gradient.
    if axis == "d" and mask[2].sum() == 1:
        mask[2] = False
    evaluate(make_term(seed, axis=axis, attach=attach), latent, features, mask).backward()
    reached = latent.grad.abs().sum(dim=1) > 0
    assert torch.equal(reached, mask)


@pytest.mark.parametrize("axis", ["d", "t"])
def test_frames_past_the_clips_end_are_masked(axis):
    latent, features = torch.randn(1, 3, 4, requires_grad=True), torch.randn(1, 4, 5)
    inputs = loss_input(latent=latent, teachers={"lm": TeacherFrames(features, torch.ones(1, 4) > 0)})
    inputs.batch.mask[0, 3] = False
    make_term(axis=axis)(inputs).backward()
    assert (latent.grad.abs().sum(dim=1) > 0).tolist() == [[True, True, True, False]]


@pytest.mark.parametrize("axis", ["d", "t"])
def test_masked_features_do_not_matter(axis):
    latent, features = torch.randn(2, 3, 6), torch.randn(2, 6, 5)
    mask = torch.tensor([[True] * 4 + [False] * 2, [False] * 6])
    term = make_term(axis=axis)
    value = evaluate(term, latent, features, mask)
    noisy = features.masked_fill(~mask.unsqueeze(2), float("nan"))
    assert evaluate(term, latent, noisy, mask).item() == value.item()
    torch.testing.assert_close(evaluate(term, latent[:1, :, :4], features[:1, :4], mask[:1, :4]), value)


@pytest.mark.parametrize("axis", ["d", "t"])
def test_value_of_a_batch_is_the_mean_of_its_items(axis):
    latent, features = torch.randn(4, 3, 7), torch.randn(4, 7, 5)
    mask = torch.ones(4, 7, dtype=torch.bool)
    term = make_term(axis=axis)
    singles = [evaluate(term, latent[[b]], features[[b]], mask[[b]]) for b in range(4)]
    torch.testing.assert_close(evaluate(term, latent, features, mask), torch.stack(singles).mean())


def test_t_axis_of_a_batch_weighs_items_by_their_frames():
    latent, features = torch.randn(2, 3, 6), torch.randn(2, 6, 5)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    term = make_term(axis="t")
    long, short = (evaluate(term, latent[[b]], features[[b]], mask[[b]]) for b in range(2))
    torch.testing.assert_close(evaluate(term, latent, features, mask), (6 * long + 2 * short) / 8)


@pytest.mark.parametrize("axis", ["d", "t"])
def test_nothing_unmasked_is_zero_with_finite_gradients(axis):
    latent = torch.randn(2, 3, 4, requires_grad=True)
    term = make_term(axis=axis)
    value = evaluate(term, latent, torch.randn(2, 4, 5), torch.zeros(2, 4, dtype=torch.bool))
    value.backward()
    assert value.item() == 0.0
    assert latent.grad.abs().sum() == 0 and term.head.weight.grad.abs().sum() == 0


@pytest.mark.parametrize("axis", ["d", "t"])
@pytest.mark.parametrize(
    "features, mask", [((2, 5, 5), (2, 5)), ((2, 6, 4), (2, 6)), ((1, 6, 5), (2, 6)), ((2, 1, 6, 5), (2, 6))]
)
def test_shapes_that_would_broadcast_are_refused(axis, features, mask):
    term = make_term(axis=axis)
    with pytest.raises(ValueError, match="expected"):
        evaluate(term, torch.randn(2, 3, 6), torch.randn(features), torch.ones(mask, dtype=torch.bool))


def test_bad_settings_are_refused():
    for attach in ("rvq2", "rvq1-5", "rvq1-0", "rvq", "first"):
        with pytest.raises(CodecError, match="rvq1-K with K up to 4"):
            make_term(attach=attach)
    bare = LossContext(sample_rate=16_000, latent_dim=3, num_codebooks=4, teacher_dims={"sm": 5})
    with pytest.raises(CodecError, match="losses.distill_lm needs a teacher 'lm', configured: sm"):
        build_loss("distill_lm", {}, bare)
    with pytest.raises(ValueError, match="expected TeacherFrames of teacher 'lm', got nothing"):
        make_term()(loss_input())


@pytest.mark.parametrize("name, options", [
    ("distill_music", {}), ("notes", {"type": "distill", "teacher": "music"}),
])  # fmt: skip
def test_a_further_teacher_is_a_line_of_the_config(name, options):
    context = LossContext(sample_rate=16_000, latent_dim=3, num_codebooks=4, teacher_dims={"music": 6, "sm": 5})
    objective = Objective({name: {"weight": 2.0, "axis": "t", **options}, "distill_sm": {"weight": 0}}, context)
    frames = TeacherFrames(torch.randn(1, 4, 6), torch.ones(1, 4, dtype=torch.bool))
    term = objective.losses[name]
    assert (term.teacher, term.head.out_features) == ("music", 6)
    assert term(loss_input(latent=torch.randn(1, 3, 4), teachers={"music": frames})).item() > 0


def test_there_can_be_several_losses_of_one_type():
    options = {"type": "mel", "weight": 1.0, "n_fft": [256], "num_mels": [20]}
    objective = Objective({"fine": options, "coarse": {**options, "n_fft": [512]}}, CONTEXT)
    values = objective(loss_input(real=torch.randn(1, 1280), fake=torch.zeros(1, 1280)))
    assert list(values) == ["fine", "coarse"] and values["fine"] != values["coarse"]


@pytest.mark.parametrize("name", ["mel.fine", "total", ""])
def test_names_that_cannot_be_a_losss(name):
    with pytest.raises(CodecError, match="not a name for a loss"):
        Objective({name: {"type": "waveform", "weight": 1.0}}, CONTEXT)


def test_each_teacher_owns_its_head():
    heads = [build_loss(name, {}, CONTEXT).head for name in ("distill_sm", "distill_lm")]
    assert heads[0].weight.data_ptr() != heads[1].weight.data_ptr()
    assert heads[0].weight.shape == (5, 3)


def test_running_statistics_are_those_of_all_unmasked_frames():
    features = 3 * torch.randn(4, 50, 2, dtype=torch.float64).float() + torch.tensor([10.0, -500.0])
    mask = torch.rand(4, 50) < 0.7
    standardize = Standardize(2)
    for item, item_mask in zip(features, mask, strict=True):
        standardize(item[None], item_mask[None])
    seen = features[mask]
    torch.testing.assert_close(standardize.mean, seen.mean(dim=0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(standardize.variance, seen.var(dim=0, correction=0), rtol=1e-3, atol=1e-3)
    before = standardize.mean.clone()
    result = standardize.eval()(features, mask)[mask]
    assert torch.equal(standardize.mean, before)
    torch.testing.assert_close(result.mean(dim=0), torch.zeros(2), rtol=0, atol=1e-2)
    torch.testing.assert_close(result.std(dim=0), torch.ones(2), rtol=0, atol=1e-2)


def test_standardized_loss_ignores_the_scale_of_a_dimension():
    latent, features = torch.randn(2, 3, 8), torch.randn(2, 8, 5)
    mask = torch.ones(2, 8, dtype=torch.bool)
    outlier = features * torch.tensor([1.0, 1.0, 40.0, 1.0, 1.0]) + 7
    values = [evaluate(make_term(axis="t", standardize=True), latent, z, mask) for z in (features, outlier)]
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)


def test_empty_batch_leaves_the_statistics():
    standardize = Standardize(2)
    standardize(torch.randn(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool))
    assert standardize.count == 0
    assert standardize.mean.tolist() == [0, 0] and standardize.variance.tolist() == [1, 1]
