"""Masked prediction: losses against numpy, masks, schedules, hypotheses, and where gradients go."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st
from pretraining_runs import CLASSES, ENCODER

from codec.config import from_dict
from codec.errors import CodecError
from codec.pretraining.models.config import PatchEncoderConfig, Shape
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import PatchEncoder
from codec.pretraining.objective.config import ClassesConfig, HypothesesConfig, TeacherConfig, WeightsConfig
from codec.pretraining.objective.heads import Center
from codec.pretraining.objective.losses import (
    classification,
    direction_distance,
    multiple_choice,
    perplexity,
    take_winner,
)
from codec.pretraining.objective.masked import MaskedModel
from codec.pretraining.objective.masking import PatchMasks, SpanMasks
from codec.pretraining.objective.pairs import FramePair, PatchPair, follow, take
from codec.pretraining.objective.schedules import Moment, Schedules

PAPER = 294_816


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def patch_model(hypotheses=1, seed=0, **weights):
    torch.manual_seed(seed)
    pair = PatchPair(PatchEncoder(from_dict(PatchEncoderConfig, ENCODER)))
    classes = from_dict(ClassesConfig, CLASSES)
    return MaskedModel(pair, Shape(16, 1, 2), hypotheses, classes, WeightsConfig(**weights))


def crops(model, count=3, seed=0):
    config = model.pair.student.config
    rng = np.random.default_rng(seed)
    masks = PatchMasks(config.grid[0] * config.grid[1], 0.7)
    wav = torch.from_numpy(0.1 * rng.standard_normal((count, config.window)).astype(np.float32))
    return wav, torch.from_numpy(np.stack([masks.order(rng) for _ in range(count)])), masks.visible


def test_losses_are_those_of_a_plain_computation():
    rng = np.random.default_rng(0)
    p, t = rng.standard_normal((4, 7, 5)), rng.standard_normal((4, 7, 5))
    expected = np.square(unit(p) - unit(t)).sum(axis=-1)
    assert np.allclose(direction_distance(torch.tensor(p), torch.tensor(t)), expected, atol=1e-5)
    logits, wanted = rng.standard_normal((4, 7, 9)), softmax(rng.standard_normal((4, 7, 9)))
    entropy = -(wanted * np.log(softmax(logits / 0.1))).sum(axis=-1).mean()
    assert classification(torch.tensor(logits), torch.tensor(wanted), 0.1).item() == pytest.approx(entropy, rel=1e-5)
    assert perplexity(torch.full((4,), 0.25)).item() == pytest.approx(4)
    assert perplexity(torch.tensor([1.0, 0.0])).item() == pytest.approx(1)


def test_the_losses_of_a_step_are_those_of_a_plain_computation_from_its_outputs():
    model = patch_model()
    wav, order, visible = crops(model)
    with torch.no_grad():
        seen, target = model.pair(wav, order, visible)
        predicted = model.predictor(seen, order, visible)[:, :, 0]
        logits, wanted = model.head(predicted).double().numpy(), model.head_teacher(target).double().numpy()
    center = np.linspace(-0.5, 0.5, CLASSES["count"])
    model.center.value.copy_(torch.from_numpy(center))
    masked = model(wav, order, visible, Moment(0.05, None))
    p, t = predicted.double().numpy(), target.double().numpy()
    classes = softmax((wanted - center) / 0.05)
    expected = {
        "prediction": np.square(unit(p) - unit(t)).sum(axis=-1).mean(),
        "classification": -(classes * np.log(softmax(logits / 0.1))).sum(axis=-1).mean(),
    }
    for name, value in expected.items():
        assert masked.losses[name].item() == pytest.approx(value, rel=1e-4)
    assert masked.total.item() == pytest.approx(0.5 * sum(expected.values()), rel=1e-4)
    mean = classes.reshape(-1, CLASSES["count"]).mean(axis=0)
    assert np.allclose(model.center.value, 0.9 * center + 0.1 * mean, atol=1e-5)


def test_what_the_center_is_a_mean_of_can_be_chosen():
    torch.manual_seed(0)
    logits = torch.randn(2, 6, 4)
    for on, expected in (("logits", logits.mean(dim=(0, 1))), ("none", torch.zeros(4))):
        center = Center(4, on, 0.0)
        probabilities = center.probabilities(logits, 0.07)
        assert torch.allclose(probabilities, (logits / 0.07).softmax(dim=-1))
        center.update(logits, probabilities)
        assert torch.allclose(center.value, expected, atol=1e-6)
        assert torch.allclose(center.probabilities(logits, 0.1), ((logits - expected) / 0.1).softmax(dim=-1))


def test_the_gradient_reaches_all_of_the_student_and_nothing_of_the_teacher():
    model = patch_model(hypotheses=3)
    wav, order, visible = crops(model)
    for name in ("prediction", "classification"):
        model.zero_grad()
        model(wav, order, visible, Moment(0.04, 0.1)).losses[name].backward()
        without = {key for key, value in model.named_parameters() if value.grad is None or not value.grad.any()}
        teachers = {key for key, _ in model.named_parameters() if "teacher" in key}
        heads = {key for key, _ in model.named_parameters() if key.startswith("head.")}
        expected = teachers | heads if name == "prediction" else teachers
        if name == "classification":
            # Only the hypotheses that win a token are taught by it.
            without = {key for key in without if "predictor.leave" not in key}
        assert without == expected
        assert any("pair.student.patch" in key for key in set(dict(model.named_parameters())) - without)
        assert any("predictor" in key for key in set(dict(model.named_parameters())) - without)


def test_what_is_masked_is_unknown_to_the_student_and_what_is_seen_to_the_teacher():
    model = patch_model()
    wav, order, visible = crops(model, count=1)
    tokens = model.pair.student.tokens(model.pair.student.front(wav))
    seen, target = model.pair(wav, order, visible)
    for chosen, same, other in ((order[:, visible:], 0, 1), (order[:, :visible], 1, 0)):
        changed = tokens.clone()
        changed[:, chosen[0]] += torch.randn(16)
        student, found = model.pair.student, []
        inside = take(changed, order)
        found.append(student(inside[:, :visible]))
        with torch.no_grad():
            found.append(model.pair.teacher(torch.cat([student.cls, inside[:, visible:]], dim=1))[:, 1:])
        kept = (seen, target)
        assert torch.equal(found[same], kept[same])
        assert not torch.allclose(found[other], kept[other], atol=1e-2)


def test_teachers_move_by_their_decays_alone():
    model = patch_model()
    before = {name: value.clone() for name, value in model.named_parameters()}
    model.follow(0.75, 0.5)
    after = dict(model.named_parameters())
    for name, value in before.items():
        if "teacher" not in name:
            assert torch.equal(after[name], value)
            continue
        other, decay = ("pair.student.transformer", 0.75) if name.startswith("pair") else ("head", 0.5)
        mine = before[name.replace("pair.teacher", other).replace("head_teacher", other)]
        assert torch.allclose(after[name], decay * value + (1 - decay) * mine, atol=1e-6)


def test_buffers_of_a_teacher_are_the_students():
    student, teacher = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    student.running_mean.fill_(3.0)
    follow(teacher, student, 1.0)
    assert torch.equal(teacher.running_mean, student.running_mean)


def test_the_paper_s_mask_and_any_other():
    masks = PatchMasks(190, 0.7)
    assert masks.visible == 57 and 190 - masks.visible == 133
    assert PatchMasks(10, 0.9).visible == 1
    rng = np.random.default_rng(0)
    orders = np.stack([masks.order(rng) for _ in range(400)])
    assert (np.sort(orders, axis=1) == np.arange(190)).all()
    seen = np.bincount(orders[:, :57].ravel(), minlength=190) / 400
    assert abs(seen - 0.3).max() < 0.1


@given(st.integers(4, 60), st.integers(1, 9), st.floats(0.1, 0.9), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_spans_are_whole_and_apart(frames, span, ratio, seed):
    try:
        masks = SpanMasks(frames, span, ratio)
    except CodecError:
        return
    order = masks.order(np.random.default_rng(seed))
    assert np.array_equal(np.sort(order), np.arange(frames))
    masked = np.sort(order[masks.visible :])
    assert len(masked) == masks.count * span
    runs = np.split(masked, np.flatnonzero(np.diff(masked) > 1) + 1)
    assert all(len(run) % span == 0 for run in runs)


def test_frames_are_masked_about_as_often_but_at_the_ends():
    masks, rng = SpanMasks(40, 5, 0.5), np.random.default_rng(0)
    hidden = np.bincount(np.concatenate([masks.order(rng)[masks.visible :] for _ in range(3000)]), minlength=40)
    shares = hidden / 3000
    assert shares.mean() == pytest.approx(0.5) and abs(shares[5:-5] - 0.5).max() < 0.1
    assert shares.min() > 0.1 and shares.max() < 0.7


def schedules(max_steps, hypotheses=5, **teacher):
    return Schedules(TeacherConfig(**teacher), ClassesConfig(), HypothesesConfig(hypotheses), max_steps)


def test_the_schedules_of_the_paper_s_length_are_the_paper_s():
    paper = schedules(PAPER)
    assert paper.encoder_decay(0) == pytest.approx(0.99995) and paper.encoder_decay(PAPER) == pytest.approx(0.99999)
    assert paper.head_decay(0) == pytest.approx(0.998) and paper.head_decay(PAPER) == pytest.approx(1.0)
    assert paper.encoder_decay(PAPER // 2) == pytest.approx(0.99997)
    assert paper.at(0).teacher_temperature == pytest.approx(0.04)
    assert paper.at(9827).teacher_temperature == pytest.approx(0.07)
    assert paper.at(9827 // 2).teacher_temperature == pytest.approx(0.055, abs=1e-5)
    assert paper.at(0).assignment_temperature == pytest.approx(0.1)
    decay = paper.at(1).assignment_temperature / paper.at(0).assignment_temperature
    assert decay == pytest.approx(0.99997, abs=1e-6)
    assert paper.at(230_000).assignment_temperature == pytest.approx(1e-4, rel=0.02)
    assert paper.at(230_256).assignment_temperature is None


def test_a_short_run_has_the_same_curves_over_its_own_length():
    short = schedules(300)
    # Time constants, as shares of the run.
    assert 1 / (1 - short.encoder_decay(0)) / 300 == pytest.approx(20_000 / PAPER)
    assert short.encoder_decay(300) == pytest.approx(1 - 1e-5 * PAPER / 300)
    assert short.head_decay(0) == 0.9 and short.head_decay(300) == pytest.approx(1.0)
    assert short.at(234).assignment_temperature is not None and short.at(235).assignment_temperature is None
    as_given = schedules(300, reference_steps=300, encoder_decay=(0.95, 0.99))
    assert as_given.encoder_decay(0) == pytest.approx(0.95) and as_given.encoder_decay(150) == pytest.approx(0.97)


distances = torch.rand(6, 5, 4, generator=torch.Generator().manual_seed(3))


def test_soft_choices_lie_between_the_mean_and_the_best():
    assert multiple_choice(distances, 1e6).loss.item() == pytest.approx(distances.mean().item(), abs=1e-5)
    best = distances.amin(dim=-1).mean().item()
    assert multiple_choice(distances, 1e-5).loss.item() == pytest.approx(best, abs=1e-5)
    hard = multiple_choice(distances, None)
    assert hard.loss.item() == pytest.approx(best) and torch.equal(hard.winner, distances.argmin(dim=-1))
    soft = multiple_choice(distances, 0.1)
    assert torch.allclose(soft.shares.sum(dim=-1), torch.ones(6, 5)) and not soft.shares.requires_grad
    assert best < soft.loss.item() < distances.mean().item()
    expected = softmax(-distances.double().numpy() / 0.1)
    assert np.allclose(soft.shares, expected, atol=1e-5)


def test_no_gradient_goes_through_the_choice():
    moved = distances.clone().requires_grad_()
    choice = multiple_choice(moved, 0.1)
    choice.loss.backward()
    assert torch.allclose(moved.grad, choice.shares / 30)
    moved.grad = None
    choice = multiple_choice(moved, None)
    choice.loss.backward()
    assert torch.equal(moved.grad != 0, F.one_hot(choice.winner, 4).bool())


def test_classification_teaches_the_winning_hypothesis_only():
    torch.manual_seed(0)
    predicted = torch.randn(2, 3, 4, 5, requires_grad=True)
    winner = torch.tensor([[0, 3, 1], [2, 2, 0]])
    best = take_winner(predicted, winner)
    assert torch.equal(best[1, 2], predicted[1, 2, 0])
    best.square().sum().backward()
    assert torch.equal(predicted.grad.abs().sum(-1) != 0, F.one_hot(winner, 4).bool())


@pytest.mark.parametrize("temperature", [0.1, 1e-4, None])
def test_one_hypothesis_is_matpac_bit_for_bit(temperature):
    model = patch_model(hypotheses=1)
    wav, order, visible = crops(model)
    model(wav, order, visible, Moment(0.04, temperature)).total.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad()
    model.center.value.zero_()
    seen, target = model.pair(wav, order, visible)
    predicted = model.predictor(seen, order, visible).squeeze(2)
    p, t = F.normalize(predicted, dim=-1), F.normalize(target, dim=-1)
    with torch.no_grad():
        classes = (model.head_teacher(target) / 0.04).softmax(dim=-1)
    cross = -(classes * (model.head(predicted) / 0.1).log_softmax(dim=-1)).sum(dim=-1).mean()
    (0.5 * (2 - 2 * (p * t).sum(dim=-1)).mean() + 0.5 * cross).backward()
    for name, value in found.items():
        assert torch.equal(value, dict(model.named_parameters())[name].grad), name


def test_a_loss_without_weight_is_left_out():
    model = patch_model(classification=0.0)
    assert not hasattr(model, "head")
    masked = model(*crops(model), Moment(0.04, None))
    assert masked.losses.keys() == {"prediction"} and "classes/used" not in masked.signs
    model = patch_model(prediction=0.0)
    masked = model(*crops(model), Moment(0.04, None))
    assert masked.losses.keys() == {"classification"} and not masked.signs["prediction"].requires_grad


def frame_model(complement=False):
    torch.manual_seed(0)
    student = FrameEncoder(from_dict(FrameEncoderConfig, {"model": TINY_CONFIG}))
    pair = FramePair(student, 20, complement)
    return MaskedModel(pair, Shape(16, 1, 2), 1, from_dict(ClassesConfig, CLASSES), WeightsConfig())


@pytest.mark.parametrize("complement", [False, True])
def test_a_student_of_frames_hears_nothing_of_what_is_masked(complement):
    model, masks = frame_model(complement), SpanMasks(20, 4, 0.5)
    rng = np.random.default_rng(0)
    order = torch.from_numpy(masks.order(rng))[None]
    wav = torch.from_numpy(0.1 * rng.standard_normal((1, 20 * 320)).astype(np.float32))
    seen, target = model.pair(wav, order, masks.visible)
    assert seen.shape == (1, masks.visible, 8) and target.shape == (1, 20 - masks.visible, 8)
    hidden, shown = wav.clone().view(20, 320), wav.clone().view(20, 320)
    hidden[order[0, masks.visible :]] *= -2
    shown[order[0, : masks.visible]] *= -2
    other, moved = model.pair(hidden.view(1, -1), order, masks.visible)
    assert torch.equal(other, seen) and not torch.allclose(moved, target, atol=1e-3)
    other, moved = model.pair(shown.view(1, -1), order, masks.visible)
    assert not torch.allclose(other, seen, atol=1e-3)
    assert torch.equal(moved, target) == complement
    model(wav, order, masks.visible, Moment(0.04, None)).total.backward()
    assert all(p.grad is not None for p in model.pair.student.parameters())
    assert all(p.grad is None for p in model.pair.teacher.parameters())


def test_five_hypotheses_beat_one_where_the_target_is_ambiguous():
    """Each context goes with three directions; one prediction can only be their mean."""
    generator = torch.Generator().manual_seed(0)
    modes = torch.linalg.qr(torch.randn(16, 3, generator=generator))[0].T
    found = {}
    for count in (1, 5):
        torch.manual_seed(1)
        network = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.GELU(), torch.nn.Linear(32, count * 16))
        optimizer = torch.optim.Adam(network.parameters(), 1e-2)
        run = Schedules(TeacherConfig(), ClassesConfig(), HypothesesConfig(count, (0.5, 0.01)), 400)
        shares = torch.zeros(count)
        for step in range(400):
            context = torch.randn(64, 4, generator=generator)
            target = modes[torch.randint(3, (64,), generator=generator)]
            predicted = network(context).unflatten(1, (count, 16))
            distance = direction_distance(predicted, target.unsqueeze(1))
            choice = multiple_choice(distance, run.at(step).assignment_temperature)
            optimizer.zero_grad()
            choice.loss.backward()
            optimizer.step()
            shares = 0.95 * shares + 0.05 * choice.shares.mean(dim=0)
        found[count] = choice.loss.item()
    best_single = 2 - 2 * (modes @ F.normalize(modes.mean(dim=0), dim=0)).mean().item()
    assert found[1] > 0.9 * best_single and found[1] > 0.7
    assert found[5] < 0.35 and perplexity(shares / shares.sum()) > 2.5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PatchMasks(190, 0.0), "expected a share between 0 and 1"),
        (lambda: PatchMasks(190, 0.999), "leaves none that are seen"),
        (lambda: SpanMasks(10, 12, 0.5), "span: expected 1 to the crop's 10 frames"),
        (lambda: SpanMasks(10, 8, 0.1), "leaves none that are masked"),
        (lambda: HypothesesConfig(0), "hypotheses.count: expected at least 1"),
        (lambda: HypothesesConfig(temperatures=(0.1, 0.0)), "temperatures must be two numbers above 0"),
        (lambda: ClassesConfig(student_temperature=0.0), "temperatures must be above 0"),
        (lambda: ClassesConfig(count=1), "must be at least 2"),
        (lambda: TeacherConfig(head_decay=(0.9, 1.1)), "teacher.head_decay"),
        (lambda: WeightsConfig(0.0, 0.0), "not both 0"),
    ],
)
def test_settings_that_leave_nothing_to_learn_are_refused(build, message):
    with pytest.raises(CodecError, match=message):
        build()
