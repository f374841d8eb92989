"""Several teachers, each for its domain: nothing leaks, times are right, and what is taught is learned."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_inputs import loss_input
from safetensors import safe_open
from test_features import Ramp
from torch import Tensor
from training_runs import RECONSTRUCTION, run_config, write_corpus, write_features

from codec.data.batch import TeacherClip, TeacherFrames
from codec.data.manifest import read_manifest
from codec.errors import CodecError
from codec.model.files import load_model
from codec.teachers.features import Crop, FeatureCache, crop_frames
from codec.teachers.translators import build_translator
from codec.train.checkpoint import list_checkpoints, read_checkpoint
from codec.train.losses.registry import LossContext, build_loss
from codec.train.objective import Objective
from codec.train.trainer import Trainer
from codec.train.weighting import WeightingConfig

TRANSLATORS = ["linear", "conv", "mlp"]
CONTEXT = LossContext(
    sample_rate=16_000,
    latent_dim=3,
    num_codebooks=4,
    teacher_dims={"speech": 5, "music": 6, "clip": 4, "phones": 7},
    clip_teachers=frozenset({"clip"}),
)
LOSSES = {
    "distill_speech": {"weight": 1.0, "axis": "t"},
    "distill_music": {"weight": 0.3, "axis": "d", "translator": "conv", "attach": "rvq1-2"},
    "distill_clip": {"type": "distill_clip", "teacher": "clip", "weight": 0.5, "attach": "quantized"},
    "phones": {"type": "labels", "teacher": "phones", "weight": 0.2, "translator": "mlp"},
}
FRAMES = 9


def taught(domains: str, names=("speech", "music", "clip", "phones")) -> dict[str, TeacherFrames | TeacherClip]:
    """Targets of a batch; each letter of ``domains`` is a clip of speech, music or a mixture of both."""
    generator = torch.Generator().manual_seed(len(domains))
    is_speech, is_music = (torch.tensor([d in kinds for d in domains]) for kinds in ("sx", "mx"))
    mask = torch.ones(len(domains), FRAMES, dtype=torch.bool)
    targets = {
        name: torch.randn(len(domains), FRAMES, CONTEXT.teacher_dims[name], generator=generator)
        for name in CONTEXT.teacher_dims
    }
    everything = {
        "speech": TeacherFrames(targets["speech"], mask & is_speech[:, None]),
        "music": TeacherFrames(targets["music"], mask & is_music[:, None]),
        "clip": TeacherClip(targets["clip"][:, 0], is_music),
        "phones": TeacherFrames(targets["phones"].softmax(dim=2), mask & is_speech[:, None]),
    }
    return {name: everything[name] for name in names}


def gradients(losses: dict, teachers: dict, batch: int, mode: str) -> tuple[Tensor, Objective, dict[str, Tensor]]:
    """Of the weighted total, at the latents ``(B, D, T)``."""
    torch.manual_seed(0)
    latent = torch.randn(batch, 3, FRAMES, requires_grad=True)
    objective = Objective(losses, CONTEXT, WeightingConfig(mode=mode))
    values = objective(loss_input(latent=latent, teachers=teachers))
    weighed, _ = objective.weigh(values, latent)
    objective.total(weighed).backward()
    return latent.grad, objective, values


@pytest.mark.parametrize("mode", ["constant", "target_norm", "balancer", "dwa", "uncertainty"])
@pytest.mark.parametrize("domains, silent", [("sss", {"distill_music", "distill_clip"}), ("mm", {"distill_speech", "phones"})])
def test_an_absent_domain_s_teachers_do_nothing_to_anything(mode, domains, silent):
    gradient, objective, values = gradients(LOSSES, taught(domains), len(domains), mode)
    for name in LOSSES:
        assert (values[name].item() == 0.0) == (name in silent)
        reached = [p.grad is not None and bool(p.grad.abs().sum() > 0) for p in objective.losses[name].parameters()]
        assert any(reached) == (name not in silent)
    # As it is where their targets are other ones; a share of the balancer does not count those that are silent.
    other = {
        name: type(target)(target.features + 100 * (not bool(target.mask.any())), target.mask)
        for name, target in taught(domains).items()
    }
    assert torch.equal(gradients(LOSSES, other, len(domains), mode)[0], gradient)
    if mode == "constant":
        torch.manual_seed(0)
        alone = {name: options for name, options in LOSSES.items() if name not in silent}
        kept = {options.get("teacher", name.removeprefix("distill_")) for name, options in alone.items()}
        latent = torch.randn(len(domains), 3, FRAMES, requires_grad=True)
        inputs = loss_input(latent=latent, teachers={k: v for k, v in taught(domains).items() if k in kept})
        sum(LOSSES[n]["weight"] * objective.losses[n](inputs) for n in alone).backward()
        torch.testing.assert_close(latent.grad, gradient)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("translator", TRANSLATORS)
def test_a_clip_of_another_domain_in_the_same_batch_gets_no_gradient(name, translator):
    losses = {name: {**LOSSES[name], "translator": translator}}
    gradient, _, _ = gradients(losses, taught("smxs"), 4, "constant")
    reached = gradient.flatten(1).abs().sum(dim=1) > 0
    knows = "sx" if name in ("distill_speech", "phones") else "mx"
    assert reached.tolist() == [domain in knows for domain in "smxs"]


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("translator", TRANSLATORS)
def test_neither_padding_nor_the_order_of_clips_changes_a_loss(name, translator):
    torch.manual_seed(0)
    options = {k: v for k, v in LOSSES[name].items() if k != "weight"}
    term = build_loss(name, {**options, "translator": translator}, CONTEXT)
    latent, teachers = torch.randn(3, 3, FRAMES), taught("smx")
    value = term(loss_input(latent=latent, teachers=teachers))
    order = torch.tensor([2, 0, 1])
    shuffled = {k: type(t)(t.features[order], t.mask[order]) for k, t in teachers.items()}
    torch.testing.assert_close(term(loss_input(latent=latent[order], teachers=shuffled)), value)
    longer = {
        k: t if isinstance(t, TeacherClip) else TeacherFrames(
            torch.nn.functional.pad(t.features, (0, 0, 0, 4), value=7.0), torch.nn.functional.pad(t.mask, (0, 4))
        )
        for k, t in teachers.items()
    }  # fmt: skip
    inputs = loss_input(latent=torch.cat([latent, torch.randn(3, 3, 4)], dim=2), teachers=longer)
    inputs.batch.mask[:, FRAMES:] = False
    torch.testing.assert_close(term(inputs), value)


def test_cross_entropy_of_labels_by_hand():
    context = LossContext(16_000, latent_dim=2, num_codebooks=1, teacher_dims={"phones": 2})
    term = build_loss("phones", {"type": "labels", "teacher": "phones", "attach": "latent"}, context)
    torch.nn.init.eye_(term.head.weight)
    torch.nn.init.zeros_(term.head.bias)
    latent = torch.tensor([[[0.0, 3.0, 9.0], [0.0, 1.0, -9.0]]])
    classes = torch.nn.functional.one_hot(torch.tensor([[0, 1, 1]]), 2).float()
    frames = TeacherFrames(classes, torch.tensor([[True, True, False]]))
    ln2, missed = torch.tensor(2.0).log(), torch.tensor([3.0, 1.0]).logsumexp(dim=0) - 1.0
    torch.testing.assert_close(term(loss_input(latent=latent, teachers={"phones": frames})), (ln2 + missed) / 2)


@settings(deadline=None, max_examples=60)
@given(
    rates=st.sampled_from(
        [(50.0, 75.0), (50.0, 12.5), (75.0, 50.0), (62.5, 50.0), (86.1328125, 50.0), (86.1328125, 12.5), (100.0, 50.0)]
    ),
    offset=st.floats(0.0, 0.03),
    seconds=st.floats(0.3, 2.6),
    start=st.integers(0, 4_000),
    speed=st.sampled_from([0.9, 1.0, 1.1]),
)
def test_an_impulse_lands_in_the_frame_of_its_time(rates, offset, seconds, start, speed):
    teacher_rate, codec_rate = rates
    frame = round((seconds - offset) * teacher_rate)

    class Impulse(Ramp):
        def slice(self, first, last):
            return (torch.arange(first, last) == frame).float()[:, None], torch.ones(last - first) > 0

    crop = Crop(start, round(3 * codec_rate), round(24_000 / codec_rate), 24_000, speed)
    found = crop_frames(Impulse(500, teacher_rate, offset, smooth=True), crop)
    centre = offset + frame / teacher_rate
    inside = crop.times().min() + 0.1 < centre < crop.times().max() - 0.1
    if inside and found.features.any():
        heard = float((found.features[:, 0].double() * crop.times()).sum() / found.features.sum())
        # Between centres of both, an impulse is nowhere nearer than half of the wider frame.
        assert abs(heard - centre) <= 0.5 * speed / codec_rate + 0.5 / teacher_rate + 1e-6
    elif inside:
        # A slower codec hears every frame; a faster teacher's falls between two centres only when interpolated.
        assert teacher_rate > codec_rate and teacher_rate < 2.2 * codec_rate


@settings(deadline=None, max_examples=40)
@given(rate=st.sampled_from([25.0, 62.5, 75.0, 100.0, 172.2]), offset=st.floats(0, 0.05), start=st.integers(0, 16_000))
def test_a_ramp_keeps_its_value_at_every_time(rate, offset, start):
    crop = Crop(start, 60, 320, 16_000)
    found = crop_frames(Ramp(1000, rate, offset, smooth=True), crop)
    position = (crop.times() - offset) * rate
    slack = 0.5 if rate >= 100 else 1e-3 * rate
    assert bool(found.mask[position >= 0].all())
    # The first frames may cover some before the clip, which are not there.
    far = (found.features[:, 0] - position).abs() > slack + 1e-3
    assert not bool(far[position >= rate / 50].any())


@pytest.mark.parametrize("translator", TRANSLATORS)
def test_every_translator_fits_one_batch(translator):
    torch.manual_seed(0)
    latent = torch.randn(2, 12, 10, requires_grad=True)
    context = LossContext(16_000, latent_dim=12, num_codebooks=1, teacher_dims={"music": 20})
    options = {"teacher": "music", "type": "distill", "axis": "t", "attach": "latent", "form": "one_minus_cosine"}
    term = build_loss("music", {**options, "translator": translator, "l1_weight": 0.0}, context)
    frames = {"music": TeacherFrames(torch.randn(2, 10, 20), torch.ones(2, 10) > 0)}
    optimizer = torch.optim.Adam([latent, *term.parameters()], lr=0.05)
    for _ in range(120):
        optimizer.zero_grad()
        value = term(loss_input(latent=latent, teachers=frames))
        value.backward()
        optimizer.step()
    assert value.item() < 0.05


def held_out_fit(teacher: str) -> dict[str, float]:
    """R^2 of ridge probes from a bottleneck of 3, trained by one teacher, to the features of both domains."""
    generator = torch.Generator().manual_seed(1)
    audio = torch.randn(24, 40, 40, generator=generator)
    mixing = torch.randn(2, 4, 3, generator=generator)
    features = {"speech": (audio[..., :4] @ mixing[0]).tanh(), "music": (audio[..., 4:8] @ mixing[1]).tanh()}
    target = features["music" if teacher == "music" else "speech"]
    if teacher == "of other clips":
        target = target.roll(1, dims=0)
    if teacher == "shuffled":
        order = torch.stack([torch.randperm(40, generator=generator) for _ in target])
        target = torch.gather(target, 1, order[..., None].expand_as(target))
    torch.manual_seed(2)
    encoder = torch.nn.Linear(40, 3)
    context = LossContext(16_000, latent_dim=3, num_codebooks=1, teacher_dims={"t": 3})
    term = build_loss("distill_t", {"axis": "t", "attach": "latent", "l1_weight": 1.0}, context)
    optimizer = torch.optim.Adam([*encoder.parameters(), *term.parameters()], lr=0.02)
    mask = torch.ones(16, 40) > 0
    for _ in range(0 if teacher == "none" else 100):
        optimizer.zero_grad()
        latent = encoder(audio[:16]).transpose(1, 2)
        term(loss_input(latent=latent, teachers={"t": TeacherFrames(target[:16], mask)})).backward()
        optimizer.step()
    with torch.no_grad():
        latents = torch.nn.functional.pad(encoder(audio), (0, 1), value=1.0)
    known, unknown = latents[:16].flatten(0, 1), latents[16:].flatten(0, 1)
    scores = {}
    for name, wanted in features.items():
        ridge = torch.linalg.solve(known.T @ known + 1e-3 * torch.eye(4), known.T @ wanted[:16].flatten(0, 1))
        truth = wanted[16:].flatten(0, 1)
        scores[name] = 1 - float((truth - unknown @ ridge).square().sum() / truth.square().sum())
    return scores


def test_a_teacher_is_learned_and_its_shuffle_and_other_domains_are_not():
    base, real = held_out_fit("none"), held_out_fit("speech")
    assert real["speech"] > base["speech"] + 0.3
    for control in ("shuffled", "of other clips"):
        assert held_out_fit(control)["speech"] < base["speech"] + 0.1
    assert held_out_fit("music")["speech"] - base["speech"] < 0.5 * (real["speech"] - base["speech"])


@pytest.fixture
def corpus(tmp_path):
    """Manifests of two domains."""
    manifests = {}
    for domain in ("speech", "music"):
        lines = write_corpus(tmp_path / domain, (1.0, 1.3, 0.9), domain=domain).read_text()
        manifests[domain] = tmp_path / f"{domain}.jsonl"
        # A cache knows a clip by its path, which must not be another's.
        manifests[domain].write_text(lines.replace('"path": "', f'"path": "{domain}/'))
    return manifests


FUNCTION = {"kind": "embedding", "model": "tiny_encoders:good_frames", "rate": 100.0}


def two_teachers(tmp_path, corpus, **changes):
    options = {"sample_rate": 16_000, "dim": 2}
    where = {"features": str(tmp_path / "features"), "axis": "t", "options": options}
    return run_config(tmp_path, corpus["speech"], **{**RECONSTRUCTION,
        "data": {
            "manifests": [str(path) for path in corpus.values()], "cache": str(tmp_path / "cache"),
            "crop_frames": 20, "batch_size": 4, "domain_weights": {"speech": 0.5, "music": 0.5},
        },
        "teachers": {
            "voice": {**FUNCTION, **where, "domains": ["speech"], "weight": 1.0},
            "tune": {
                "kind": "music", "model": "tiny_encoders:good_vector", **where,
                "weight": 0.3, "translator": "mlp", "attach": "quantized",
            },
        },
        "max_steps": 6, "log_every": 1, **changes
    })  # fmt: skip


def test_teachers_are_lines_of_a_config(tmp_path, corpus):
    trainer = Trainer(two_teachers(tmp_path, corpus, weighting={"mode": "target_norm"}))
    batch = trainer.task.parts.batches.batch(0)
    plans = [trainer.task.parts.batches.planner.plan(0, slot) for slot in range(4)]
    clips = trainer.task.parts.store.clips
    speech = torch.tensor([clips[plan.clip].domain == "speech" for plan in plans])
    assert torch.equal(batch.teachers["voice"].mask.any(dim=1), speech)
    assert torch.equal(batch.teachers["tune"].mask, ~speech)
    # A teacher is never run on what it does not see, and its targets are calibrated.
    voice = FeatureCache(tmp_path / "features", "voice")
    assert len(voice.missing(read_manifest(corpus["music"]))) == 3
    frames = torch.cat([voice.read(clip).features.float() for clip in read_manifest(corpus["speech"])])
    statistics = trainer.task.parts.state.objective.losses["distill_voice"].standardize
    torch.testing.assert_close(statistics.mean, frames.mean(dim=0), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(statistics.variance, frames.var(dim=0, correction=0), rtol=1e-3, atol=1e-7)
    trainer.run()
    rows = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    logged = [row for row in rows if "distill_voice" in row]
    assert logged and all(row["weight/distill_voice"] > 0 and row["weight/distill_tune"] > 0 for row in logged)


def test_translators_lie_next_to_the_codec_and_not_in_it(tmp_path, corpus):
    trainer = Trainer(two_teachers(tmp_path, corpus, max_steps=2))
    trainer.run()
    shipped = load_model(tmp_path / "run/export", "cpu").state_dict()
    with safe_open(tmp_path / "run/translators.safetensors", "pt") as file:
        translators = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        facts = json.loads(file.metadata()["distill_tune"])
    assert facts == {"teacher": "tune", "attach": "quantized"}
    head = trainer.task.parts.state.objective.losses["distill_voice"].head
    assert torch.equal(translators["distill_voice.head.weight"], head.weight)
    assert not [key for key in shipped if "head" in key or "distill" in key]
    assert set(shipped) == set(trainer.task.parts.state.released().state_dict())


@pytest.mark.parametrize("mode", ["balancer", "dwa", "uncertainty"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, corpus, mode):
    weighting = {"mode": mode, "window": 2}
    whole = Trainer(two_teachers(tmp_path, corpus, output=str(tmp_path / "whole"), weighting=weighting))
    whole.run()
    changes = {"output": str(tmp_path / "parts"), "weighting": weighting}
    Trainer(two_teachers(tmp_path, corpus, **changes)).run(until=3)
    Trainer(two_teachers(tmp_path, corpus, **changes, resume=True)).run()
    first, second = (
        read_checkpoint(list_checkpoints(tmp_path / name / "checkpoints")[-1]).parts for name in ("whole", "parts")
    )
    for part in ("generator", "objective"):
        assert first[part].keys() == second[part].keys()
        for key, value in first[part].items():
            assert torch.equal(value, second[part][key]), key


def test_translators_go_on_in_a_run_that_starts_from_another(tmp_path, corpus):
    first = Trainer(two_teachers(tmp_path, corpus, max_steps=1))
    first.run()
    start = {"init_from": str(tmp_path / "run"), "output": str(tmp_path / "next"), "seed": 5}
    config = two_teachers(tmp_path, corpus, **start)
    config.teachers["tune"] = type(config.teachers["tune"])(**{**vars(config.teachers["tune"]), "translator": "linear"})
    losses = [run.task.parts.state.objective.losses for run in (first, Trainer(config))]
    voice, tune = ([loss[f"distill_{name}"].head.state_dict() for loss in losses] for name in ("voice", "tune"))
    assert torch.equal(voice[0]["weight"], voice[1]["weight"])
    assert "inner.weight" in tune[0] and "inner.weight" not in tune[1]


def test_a_run_says_which_heads_its_source_does_not_have(tmp_path, corpus, capsys):
    first = two_teachers(tmp_path, corpus, max_steps=1)
    alone = {name: teacher for name, teacher in first.teachers.items() if name == "voice"}
    Trainer(dataclasses.replace(first, teachers=alone)).run()
    capsys.readouterr()
    for number, names in enumerate((("voice",), ("voice", "tune"))):
        config = two_teachers(tmp_path, corpus, init_from=str(tmp_path / "run"), output=str(tmp_path / f"next-{number}"))
        Trainer(dataclasses.replace(config, teachers={name: config.teachers[name] for name in names}))
        assert ("has no heads of distill_tune;" in capsys.readouterr().err) == ("tune" in names)


def replace(teacher: dict, name: str = "voice"):
    return lambda tmp_path: {"teachers": {name: {"features": str(tmp_path / "other"), **teacher}}}


DECLARED = {"options": {"sample_rate": 16_000, "dim": 2}, "rate": 100.0, "weight": 1.0}


@pytest.mark.parametrize("changes, message", [
    (replace({"kind": "music", "weight": 1.0}), "kind music without a model; set model"),
    (replace({"model": "basic_pitch"}), "model without a kind; set kind"),
    (replace({"kind": "music", "model": "m", "extract": {"type": "music"}}), "kind and extract say the same thing"),
    (replace({"kind": "musik", "model": "m"}), "'musik' is none of speech, language, music"),
    (replace({**FUNCTION, **DECLARED, "weight": -1.0}), "weight is -1.0; expected a number >= 0"),
    (replace({**FUNCTION, **DECLARED, "translator": "lstm"}), "'lstm' is none of linear, conv, mlp"),
    (replace({**FUNCTION, **DECLARED, "attach": "rvq1-9"}), "'rvq1-9' is no attach point"),
    (replace({**FUNCTION, **DECLARED, "domains": ["sound"]}), "no clip of the domain 'sound'; there are music, speech"),
    (replace({**FUNCTION, **DECLARED, "rate": 50.0}), "gave 200 frames for 2.00 s, declared is 50"),
    (replace({**FUNCTION, **DECLARED, "options": {"sample_rate": 16_000, "dim": 3}}), "embeddings of size 3"),
    (replace({**FUNCTION, **DECLARED, "options": {"sample_rte": 16_000}}), "unknown key 'sample_rte'"),
    (replace({**FUNCTION, **DECLARED, "model": "tiny_encoders:nan_frames"}), "gave NaN or infinite features"),
    (replace({**FUNCTION, **DECLARED, "model": "tiny_encoders:raising"}), "raised KeyError"),
    (replace({**FUNCTION, **DECLARED, "model": "tiny_encoders:noisy"}), "two embeddings for the same audio"),
    (replace({"kind": "labels", "weight": 1.0}), "none of 3 clips is English speech with a text"),
    (lambda tmp_path: {"losses": {**RECONSTRUCTION["losses"], "distill_voice": {"weight": 1}}}, "remove one"),
])  # fmt: skip
def test_what_is_wrong_with_a_teacher_is_an_error_before_the_first_step(tmp_path, corpus, changes, message):
    with pytest.raises(CodecError, match=message):
        Trainer(two_teachers(tmp_path, corpus, **changes(tmp_path)))


def test_clips_that_a_cache_cannot_tell_apart_are_refused(tmp_path):
    manifests = [str(write_corpus(tmp_path / name, (1.0,), domain=name)) for name in ("speech", "music")]
    data = {"manifests": manifests, "cache": str(tmp_path / "cache"), "crop_frames": 20, "batch_size": 4}
    with pytest.raises(CodecError, match="clip0: two clips of this name"):
        Trainer(two_teachers(tmp_path, {"speech": manifests[0]}, data=data))


def test_features_of_another_teacher_are_refused(tmp_path, corpus):
    for manifest in corpus.values():
        write_features(tmp_path / "toy", manifest, "voice")
    teacher = {**FUNCTION, **DECLARED, "features": str(tmp_path / "toy")}
    with pytest.raises(CodecError, match="teacher 'toy' instead of 'tiny_encoders:good_frames'"):
        Trainer(two_teachers(tmp_path, corpus, teachers={"voice": teacher}))


def test_a_convolution_sees_its_neighbours_and_a_linear_translator_none():
    frames, mask = torch.zeros(1, 7, 3), torch.ones(1, 7) > 0
    frames[0, 3] = torch.tensor([1.0, -2.0, 0.5])
    for kind, width in (("linear", 0), ("mlp", 0), ("conv", 1)):
        torch.manual_seed(0)
        translator = build_translator(kind, 3, 4)
        change = (translator(frames, mask) - translator(torch.zeros_like(frames), mask)).abs().sum(dim=2)[0] > 0
        assert torch.nonzero(change)[:, 0].tolist() == list(range(3 - width, 4 + width))
