"""A teacher's one vector for a clip: kept in a file, put into batches, distilled."""

import pytest
import torch
from loss_inputs import loss_input
from training_runs import run_config, write_corpus

from codec.data import Clip
from codec.data.batch import Batch, TeacherClip, TeacherFrames
from codec.data.manifest import read_manifest
from codec.errors import CodecError
from codec.teachers.features import FeatureCache, FeatureInfo
from codec.teachers.features.cache import ClipFeatures
from codec.train.losses.registry import LossContext, build_loss
from codec.train.trainer import Trainer

CONTEXT = LossContext(
    sample_rate=16_000,
    latent_dim=3,
    num_codebooks=4,
    teacher_dims={"music": 5, "lm": 5},
    clip_teachers=frozenset({"music"}),
)
INFO = FeatureInfo("toy", "last", 1.0, 0.0, "speech", 3, level="clip")


def term(**options):
    torch.manual_seed(0)
    return build_loss("notes", {"type": "distill_clip", "teacher": "music", **options}, CONTEXT)


def inputs(latent, features, known, lengths):
    made = loss_input(latent=latent, teachers={"music": TeacherClip(features, torch.tensor(known))})
    made.batch.mask = torch.arange(latent.shape[2]) < torch.tensor(lengths).unsqueeze(1)
    return made


@pytest.mark.parametrize("attach", ["latent", "rvq1", "rvq1-3"])
def test_the_gradient_reaches_every_valid_frame_and_no_other(attach):
    latent = torch.randn(3, 3, 6, requires_grad=True)
    lengths, known = [6, 2, 4], [True, True, False]
    term(attach=attach)(inputs(latent, torch.randn(3, 5), known, lengths)).backward()
    reached = latent.grad.abs().amax(dim=1) > 0
    expected = (torch.arange(6) < torch.tensor(lengths).unsqueeze(1)) & torch.tensor(known).unsqueeze(1)
    assert torch.equal(reached, expected)


def test_value_by_hand():
    loss = term(attach="latent", l1_weight=2.0)
    latent, features = torch.randn(1, 3, 4), torch.randn(1, 5)
    view = latent[0, :, :3].mean(dim=1) @ loss.head.weight.T + loss.head.bias
    cosine = (view @ features[0]) / (view.norm() * features[0].norm())
    expected = 1 - cosine + 2.0 * (view - features[0]).abs().mean()
    torch.testing.assert_close(loss(inputs(latent, features, [True], [3])), expected)


@pytest.mark.parametrize("standardize", [False, True])
def test_a_clip_without_the_feature_counts_for_nothing(standardize):
    latent, features = torch.randn(3, 3, 4), torch.randn(3, 5)
    some, alone = term(standardize=standardize), term(standardize=standardize)
    features[1] = 1e4
    value = some(inputs(latent, features, [True, False, True], [4, 4, 2]))
    kept = [0, 2]
    torch.testing.assert_close(value, alone(inputs(latent[kept], features[kept], [True, True], [4, 2])))
    for name, buffer in some.named_buffers():
        torch.testing.assert_close(buffer, alone.get_buffer(name))


def test_with_no_clip_that_counts_the_loss_and_its_gradients_are_zero():
    latent = torch.randn(2, 3, 4, requires_grad=True)
    loss = term()
    value = loss(inputs(latent, torch.randn(2, 5), [False, True], [4, 0]))
    value.backward()
    assert value.item() == 0
    assert not latent.grad.any() and not loss.head.weight.grad.any()


@pytest.mark.parametrize("kind, teacher, message", [
    ("distill", "music", "losses.notes: teacher 'music' has one vector for a clip; set type: distill_clip"),
    ("distill_clip", "lm", "losses.notes: teacher 'lm' has frames, .*; set type: distill"),
])  # fmt: skip
def test_a_loss_of_the_other_level_is_refused_before_the_first_step(kind, teacher, message):
    with pytest.raises(CodecError, match=message):
        build_loss("notes", {"type": kind, "teacher": teacher}, CONTEXT)


def test_a_vector_comes_back_from_its_file_and_one_that_does_not_count_is_zero(tmp_path):
    cache = FeatureCache(tmp_path, "music")
    clips = [Clip(path=f"{name}.wav", seconds=1.0, root=str(tmp_path)) for name in "abc"]
    for clip, rows, known in zip(
        clips, (torch.randn(1, 3), torch.randn(3), torch.randn(1, 3)), (1, 1, 0), strict=True
    ):
        cache.write(clip, ClipFeatures(rows, torch.tensor([known])), INFO)
        vector, counts = cache.read(clip).vector()
        assert (vector.shape, counts.shape, bool(counts)) == ((3,), (), bool(known))
        assert torch.equal(vector, rows.flatten().half() * known)
    assert cache.check(clips) == INFO


@pytest.mark.parametrize(
    "rows, mask", [(torch.zeros(2, 3), torch.ones(2)), (torch.zeros(1, 2), torch.ones(1))]
)
def test_features_that_are_not_one_vector_are_refused(tmp_path, rows, mask):
    clip = Clip(path="a.wav", seconds=1.0, root=str(tmp_path))
    with pytest.raises(CodecError, match="of level clip, so one vector of 3"):
        FeatureCache(tmp_path, "music").write(clip, ClipFeatures(rows, mask), INFO)


def test_a_batch_keeps_both_levels_when_it_moves():
    frames = TeacherFrames(torch.ones(1, 2, 3), torch.ones(1, 2) > 0)
    batch = Batch(
        torch.zeros(1, 640),
        torch.ones(1, 2) > 0,
        {"lm": frames, "music": TeacherClip(torch.ones(1, 3), torch.ones(1) > 0)},
    )
    moved = batch.map(lambda tensor: tensor[:0])
    assert [type(target) for target in moved.teachers.values()] == [TeacherFrames, TeacherClip]
    assert all(len(target.mask) == 0 for target in moved.teachers.values()) and len(moved.wav) == 0


def test_a_run_distils_a_vector_for_a_clip(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    cache = FeatureCache(tmp_path / "features", "music")
    for number, clip in enumerate(read_manifest(manifest)):
        known = torch.tensor([number != 0])
        cache.write(clip, ClipFeatures(torch.full((1, 3), 1.0 + number), known), INFO)
    losses = {
        "distill_music": {"type": "distill_clip", "teacher": "music", "weight": 1.0},
        "waveform": {"weight": 1},
    }
    teachers = {"music": {"features": str(tmp_path / "features")}}
    trainer = Trainer(
        run_config(tmp_path, manifest, losses=losses, teachers=teachers, discriminators={}, max_steps=4)
    )
    parts, seen = trainer.task.parts, set()
    for step in range(8):
        target = parts.batches.batch(step).teachers["music"]
        plans = [parts.batches.planner.plan(step, slot) for slot in parts.batches.slots]
        assert target.mask.tolist() == [plan.clip != 0 for plan in plans]
        assert target.features[:, 0].tolist() == [float(plan.clip and 1 + plan.clip) for plan in plans]
        seen |= {plan.clip for plan in plans}
    assert 0 in seen and len(seen) > 1
    before = parts.state.objective.losses["distill_music"].head.weight.detach().clone()
    trainer.run()
    assert not torch.equal(parts.state.objective.losses["distill_music"].head.weight, before)
