"""Feature cache and time mapping: what is written comes back, on the right frames, or an error says why."""

import dataclasses
import types
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.data import Clip
from codec.errors import CodecError
from codec.jobs.batches import interleave, make_batches, run_batches
from codec.teachers.features import Crop, ExpectedFeatures, FeatureCache, FeatureInfo, crop_frames
from codec.teachers.features.cache import ClipFeatures
from codec.teachers.features.extract import check_cached

INFO = FeatureInfo(teacher="hubert", layer="avg", rate=50.0, offset=0.0125, mode="speech", dim=1)


@dataclasses.dataclass
class Ramp:
    """Teacher whose frame i has the feature i."""

    num_frames: int
    rate: float = 50.0
    offset: float = 0.0
    mode: str = "speech"
    masked: tuple[int, ...] = ()
    smooth: bool = False

    def slice(self, first, last):
        frames = torch.arange(first, last)
        mask = torch.tensor([int(i) not in self.masked for i in frames], dtype=torch.bool)
        return frames.half()[:, None], mask


@settings(deadline=None, max_examples=40)
@given(start_frame=st.integers(0, 300), length=st.integers(1, 60), hop=st.sampled_from([160, 320, 640]))
def test_equal_rates_without_offset_map_one_to_one(start_frame, length, hop):
    teacher = Ramp(400, rate=16_000 / hop)
    frames = crop_frames(teacher, Crop(start_frame * hop, length, hop, 16_000))
    expected = torch.arange(start_frame, start_frame + length)
    assert torch.equal(frames.mask, expected < 400)
    assert torch.equal(frames.features[frames.mask, 0], expected[frames.mask].float())


def test_hubert_of_149_frames_is_paired_by_centres_and_the_last_frame_masked():
    frames = crop_frames(Ramp(149, offset=0.0125), Crop(0, 150, 320, 16_000))
    assert frames.mask.tolist() == [True] * 149 + [False]
    assert torch.equal(frames.features[:149, 0], torch.arange(149.0))
    assert frames.features[149, 0] == 0


@settings(deadline=None, max_examples=40)
@given(
    rate=st.sampled_from([12.5, 25.0, 50.0, 100.0]),
    offset=st.floats(0, 0.05),
    start=st.integers(0, 40_000),
    speed=st.sampled_from([0.8, 1.0, 1.13]),
)
def test_the_chosen_frame_is_the_nearest_in_source_time(rate, offset, start, speed):
    teacher = Ramp(int(8 * rate), rate, offset)
    crop = Crop(start, 50, 320, 16_000, speed)
    frames = crop_frames(teacher, crop)
    times = (start + 320 * (torch.arange(50, dtype=torch.float64) + 0.5)) / 16_000 * speed
    centres = offset + torch.arange(teacher.num_frames, dtype=torch.float64) / rate
    nearest = (times[:, None] - centres[None]).abs().min(dim=1).values
    chosen = centres[frames.features[:, 0].long()]
    inside = (times - offset > -0.499 / rate) & (times - centres[-1] < 0.499 / rate)
    assert bool((frames.mask >= inside).all())
    assert torch.allclose((times - chosen).abs()[frames.mask], nearest[frames.mask], atol=1e-6 / rate * 2)


@settings(deadline=None, max_examples=40)
@given(start=st.integers(0, 20_000), offset=st.floats(0, 0.03), speed=st.sampled_from([0.9, 1.0, 1.2]))
def test_interpolation_gives_the_exact_position_on_a_ramp(start, offset, speed):
    crop = Crop(start, 40, 320, 16_000, speed)
    frames = crop_frames(Ramp(100, offset=offset), crop, interpolate=True)
    position = (crop.times() - offset) * 50
    inside = (position >= 0) & (position <= 99)
    assert torch.equal(frames.mask[(position - 49).abs() < 49], inside[(position - 49).abs() < 49])
    assert torch.allclose(frames.features[frames.mask, 0], position[frames.mask].float(), atol=1e-3)


def test_interpolation_masks_frames_beside_a_masked_one():
    frames = crop_frames(Ramp(10, masked=(4,)), Crop(0, 9, 320, 16_000), interpolate=True)
    assert frames.mask.tolist() == [True, True, True, False, False, True, True, True, True]
    assert frames.features[3, 0] == 0


def test_index_mode_starts_with_each_crop():
    frames = crop_frames(Ramp(30, mode="index"), Crop(50_000, 40, 320, 16_000))
    assert torch.equal(frames.features[:30, 0], torch.arange(30.0))
    assert frames.mask.tolist() == [True] * 30 + [False] * 10


def test_a_crop_wholly_outside_is_masked():
    frames = crop_frames(Ramp(10), Crop(160_000, 5, 320, 16_000))
    assert frames.features.shape == (5, 1) and not frames.mask.any()


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path, "sm")


def clip(name: str, **values) -> Clip:
    return Clip(path=f"a/{name}.wav", seconds=1.0, **values)


def test_what_is_written_comes_back(cache):
    features, mask = torch.randn(50, 3), torch.rand(50) > 0.5
    info = dataclasses.replace(INFO, dim=3, layer="4,7")
    cache.write(clip("x"), ClipFeatures(features, mask), info)
    found = cache.read(clip("x"))
    assert torch.equal(found.features, features.half()) and torch.equal(found.mask, mask)
    assert found.info == info and found.num_frames == 50
    assert torch.equal(found.slice(10, 20)[0], features.half()[10:20])
    assert [path.name for path in cache.path(clip("x")).parent.iterdir()] == ["x.safetensors"]


@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_indexed_features_equal_the_expanded_ones_on_any_slice(tmp_path_factory, data):
    index = torch.tensor(sorted(data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=40))))
    first = data.draw(st.integers(0, len(index)))
    last = data.draw(st.integers(first, len(index)))
    rows = torch.randn(7, 2)
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), "lm")
    cache.write(clip("x"), ClipFeatures(rows, torch.ones(len(index), dtype=torch.bool), index), INFO)
    assert torch.equal(cache.read(clip("x")).slice(first, last)[0], rows.half()[index][first:last])


def test_features_beyond_float16_are_refused(cache):
    with pytest.raises(CodecError, match=r"a/x\.wav: sm features are not finite in float16"):
        cache.write(clip("x"), ClipFeatures(torch.full((2, 1), 1e6), torch.ones(2)), INFO)
    assert cache.missing([clip("x")])


def write(cache: FeatureCache, name: str, **changes) -> Clip:
    cache.write(
        clip(name), ClipFeatures(torch.zeros(50, 1), torch.ones(50)), dataclasses.replace(INFO, **changes)
    )
    return clip(name)


def test_check_accepts_what_was_expected(cache):
    clips = [write(cache, "x"), write(cache, "y")]
    assert cache.check(clips, ExpectedFeatures("hubert", "avg", 50.0, "speech")) == INFO
    assert cache.check(clips) == INFO


def test_check_names_missing_clips(cache):
    clips = [write(cache, "x"), clip("y"), clip("z")]
    with pytest.raises(CodecError, match=r"2 of 3 clips have no features \(first: a/y\.wav\); run"):
        cache.check(clips)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"teacher": "wavlm"}, "teacher 'wavlm' instead of 'hubert'"),
        ({"layer": "last"}, "layer 'last' instead of 'avg'"),
        ({"rate": 25.0}, r"rate 25\.0 instead of 50\.0"),
        ({"mode": "cls"}, "mode 'cls' instead of 'speech'"),
    ],
)
def test_check_names_what_differs_and_where(cache, changes, message):
    clips = [write(cache, "x"), write(cache, "y", **changes)]
    with pytest.raises(CodecError, match=rf"y\.safetensors: {message}"):
        cache.check(clips, ExpectedFeatures("hubert", "avg", 50.0, "speech"))
    with pytest.raises(CodecError, match=rf"y\.safetensors: {message}"):
        cache.check(clips)


@pytest.mark.parametrize("seconds, right", [(0.5, True), (1.5, True), (0.4, False), (1.6, False)])
def test_features_of_another_recording_of_this_name_are_refused(cache, seconds, right):
    write(cache, "x")
    other = dataclasses.replace(clip("x"), seconds=seconds, root="elsewhere")
    teacher = types.SimpleNamespace(info=INFO)
    if right:
        assert cache.check([other]) == INFO
        check_cached(teacher, cache, [other])
        return
    for check in (cache.check, partial(check_cached, teacher, cache)):
        with pytest.raises(CodecError, match=rf"x\.safetensors: has 1\.0 s, but elsewhere/a/x\.wav has {seconds} s"):
            check([other])


def test_encoders_of_long_frames_may_leave_out_as_much_as_they_do(cache):
    info = dataclasses.replace(INFO, rate=1.0)
    cache.write(clip("x"), ClipFeatures(torch.zeros(1, 1), torch.ones(1)), info)
    assert cache.check([dataclasses.replace(clip("x"), seconds=2.9)]) == info
    with pytest.raises(CodecError, match="of another recording"):
        cache.check([dataclasses.replace(clip("x"), seconds=3.9)])


@pytest.mark.parametrize("changes", [{"mode": "index"}, {"level": "clip"}])
def test_what_has_no_times_has_no_length(cache, changes):
    info = dataclasses.replace(INFO, **changes)
    cache.write(clip("x"), ClipFeatures(torch.zeros(1, 1), torch.ones(1)), info)
    assert cache.check([clip("x")]) == info


def test_a_damaged_file_is_named(cache):
    written = write(cache, "x")
    path = cache.path(written)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CodecError, match=r"x\.safetensors: damaged"):
        cache.read(written)
    with pytest.raises(CodecError, match="no such features"):
        cache.read(clip("y"))


def test_one_bad_clip_costs_no_other_its_turn():
    clips = [Clip(path=f"{i}.wav", seconds=1.0 + i / 10) for i in range(10)]
    done = []

    def work(batch):
        if any(clip.path in ("3.wav", "7.wav") for clip in batch):
            raise ValueError("broken")
        done.extend(clip.path for clip in batch)

    report = run_batches(clips, work, 6.0, "test")
    assert sorted(done) == sorted({clip.path for clip in clips} - {"3.wav", "7.wav"})
    assert report.done == 8
    assert [(f.clip, f.reason) for f in report.failures] == [("3.wav", "broken"), ("7.wav", "broken")]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.1, 40), max_size=150), st.floats(1, 100))
def test_batches_hold_each_clip_once_within_the_budget(durations, budget):
    clips = [Clip(path=f"{i}.wav", seconds=seconds) for i, seconds in enumerate(durations)]
    batches = make_batches(clips, budget)
    assert sorted(c.path for batch in batches for c in batch) == sorted(c.path for c in clips)
    for batch in batches:
        assert len(batch) == 1 or max(c.seconds for c in batch) * len(batch) <= budget + 1e-9


def test_interleaving_spreads_every_folder_evenly():
    clips = [
        Clip(path=f"{folder}/{i}.wav", seconds=1) for folder, n in (("a", 5), ("b", 2)) for i in range(n)
    ]
    mixed = interleave(clips)
    assert sorted(c.path for c in mixed) == sorted(c.path for c in clips)
    assert [c.path[0] for c in mixed] == ["a", "b", "a", "a", "a", "b", "a"]
    assert interleave(clips) == mixed
