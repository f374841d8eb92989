"""Laws of the training data: decoded once, cropped by (seed, step, slot), padded and masked."""

import json
import math
import os
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_speech
from hypothesis import given, settings
from hypothesis import strategies as st
from training_runs import HOP, write_corpus

from codec.data import read_manifest
from codec.data.augment import AugmentationConfig
from codec.data.crops import CropPlanner
from codec.data.loading.batches import CropBatches
from codec.data.loading.config import DataConfig
from codec.data.loading.prefetch import Prefetcher, ProcessPrefetcher, move_batch
from codec.data.loading.source import open_audio, training_clips
from codec.data.manifest import Clip
from codec.data.store import AudioStore, open_store
from codec.errors import CodecError
from codec.eval.clips import read_clips

ALL = AugmentationConfig(
    **{f"{name}_probability": 0.5 for name in ("speed", "gain", "eq", "noise", "reverb")}
)


def make_store(lengths, domains=None) -> AudioStore:
    """Clips whose sample n of clip i is ``100 i + n % 100``."""
    domains = domains or ["speech"] * len(lengths)
    clips = [Clip(f"{i}.wav", n / 16_000, domain=d) for i, (n, d) in enumerate(zip(lengths, domains, strict=False))]
    samples = [100 * i + np.arange(n) % 100 for i, n in enumerate(lengths)]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return AudioStore(clips, np.concatenate(samples).astype(np.int16), offsets, 16_000, [])


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9000), min_size=1, max_size=5),
    step=st.integers(0, 2**40),
    slot=st.integers(0, 2**20),
    seed=st.integers(0, 2**31),
)
def test_a_crop_lies_inside_its_clip_and_depends_on_seed_step_and_slot_alone(lengths, step, slot, seed):
    store = make_store(lengths)
    plan = CropPlanner(store, 10 * HOP, seed, augmentation=ALL).plan(step, slot)
    again = CropPlanner(store, 10 * HOP, seed, augmentation=ALL)
    again.plan(step + 1, slot)
    assert again.plan(step, slot) == plan
    assert plan.start >= 0
    assert plan.start == 0 or plan.start + plan.length <= lengths[plan.clip]


def test_steps_slots_and_seeds_differ():
    store = make_store([100_000, 50_000])
    planner = CropPlanner(store, HOP, 0)
    plans = {planner.plan(step, slot) for step in range(20) for slot in range(20)}
    assert len(plans) > 390
    assert CropPlanner(store, HOP, 1).plan(0, 0) != planner.plan(0, 0)


def test_two_processes_see_what_one_sees_with_the_whole_batch():
    planner = CropPlanner(make_store([9000, 3000, 20_000]), 10 * HOP, 3, augmentation=ALL)
    whole = CropBatches(planner, HOP, 6).batch(5)
    halves = [CropBatches(planner, HOP, 3, rank).batch(5) for rank in range(2)]
    assert torch.equal(whole.wav, torch.cat([half.wav for half in halves]))
    assert torch.equal(whole.mask, torch.cat([half.mask for half in halves]))


@pytest.mark.parametrize("prefetcher", [Prefetcher, ProcessPrefetcher])
def test_threads_and_processes_change_neither_order_nor_content(prefetcher):
    batches = CropBatches(CropPlanner(make_store([9000, 20_000]), 10 * HOP, 0, augmentation=ALL), HOP, 2)
    with prefetcher(batches, 3, 12, 3, ahead=5, pin=False) as loader:
        seen = [batch.wav for batch in loader]
    assert len(seen) == 9
    for step, wav in enumerate(seen, start=3):
        assert torch.equal(wav, batches.batch(step).wav)


def test_crops_are_the_clips_samples():
    store = make_store([9000, 20_000])
    batches = CropBatches(CropPlanner(store, 10 * HOP, 0), HOP, 4)
    plans = [batches.planner.plan(0, slot) for slot in range(4)]
    for plan, wav in zip(plans, batches.batch(0).wav, strict=True):
        first = int(store.offsets[plan.clip]) + plan.start
        expected = store.samples[first : first + 10 * HOP].astype(np.float32) / 32_768
        assert np.array_equal(wav.numpy(), expected)


def test_a_short_clip_is_padded_and_masked():
    batch = CropBatches(CropPlanner(make_store([3 * HOP + 1]), 10 * HOP, 0), HOP, 2).batch(0)
    assert batch.mask.sum(dim=1).tolist() == [4, 4]
    assert batch.mask[0].tolist() == [True] * 4 + [False] * 6
    assert batch.wav.shape == (2, 10 * HOP)
    assert not batch.wav[:, 3 * HOP + 1 :].any()


def test_noise_and_rooms_do_not_sound_after_a_clips_end():
    config = AugmentationConfig(noise_probability=1.0, reverb_probability=1.0)
    planner = CropPlanner(make_store([3 * HOP]), 10 * HOP, 0, augmentation=config)
    batch = CropBatches(planner, HOP, 1).batch(0)
    assert batch.wav[:, : 3 * HOP].abs().sum() > 0
    assert not batch.wav[:, 3 * HOP :].any()


def test_clips_are_drawn_by_duration():
    planner = CropPlanner(make_store([30_000, 10_000]), HOP, 0)
    drawn = [planner.plan(0, slot).clip for slot in range(2000)]
    # Four standard deviations of a share of 1/4 in 2000 draws.
    assert np.mean(drawn) == pytest.approx(0.25, abs=0.039)


def test_domain_weights_set_the_shares_of_domains():
    store = make_store([30_000, 10_000, 5000], ["speech", "music", "noise"])
    planner = CropPlanner(store, HOP, 0, {"speech": 1.0, "music": 3.0})
    drawn = np.array([planner.plan(0, slot).clip for slot in range(2000)])
    assert np.mean(drawn == 1) == pytest.approx(0.75, abs=0.039)
    assert not (drawn == 2).any()


@settings(max_examples=20, deadline=None)
@given(quota=st.dictionaries(st.sampled_from(["speech", "music", "noise"]), st.integers(1, 6), min_size=1))
def test_quotas_are_exact_in_every_step_and_alike_in_every_process(quota):
    names = ["speech", "speech", "music", "noise"]
    planner = CropPlanner(make_store([30_000, 10_000, 9000, 5000], names), HOP, 0, domain_quota=quota)
    total = sum(quota.values())
    for step in range(4):
        drawn = [names[planner.plan(step, slot).clip] for slot in range(total)]
        assert Counter(drawn) == quota
    if total % 2 == 0:
        halves = Counter(drawn[: total // 2]), Counter(drawn[total // 2 :])
        assert all(abs(halves[0][name] - halves[1][name]) <= 1 for name in quota)


def test_within_a_quota_clips_are_drawn_by_duration():
    store = make_store([30_000, 10_000, 9000], ["speech", "speech", "music"])
    planner = CropPlanner(store, HOP, 0, domain_quota={"speech": 1, "music": 1})
    slot = next(slot for slot in range(2) if planner.plan(0, slot).clip != 2)
    drawn = np.array([planner.plan(step, slot).clip for step in range(2000)])
    assert np.mean(drawn == 1) == pytest.approx(0.25, abs=0.039)


def test_quotas_that_cannot_be_held_are_refused():
    store = make_store([9000])
    with pytest.raises(CodecError, match="keep one of them"):
        CropPlanner(store, HOP, 0, {"speech": 1.0}, domain_quota={"speech": 1})
    with pytest.raises(CodecError, match="domain_quota: no clip of the domain 'musik'"):
        CropPlanner(store, HOP, 0, domain_quota={"musik": 1})
    with pytest.raises(CodecError, match=r"domain_quota\.speech: 0 crops"):
        CropPlanner(store, HOP, 0, domain_quota={"speech": 0})
    with pytest.raises(CodecError, match="3 crops in all, and batch_size is 4"):
        DataConfig(batch_size=4, domain_quota={"speech": 2, "music": 1})


@pytest.mark.parametrize("shares", [{"speech": 0.0}, {"speech": -1.0}, {"speech": float("nan")}, {"speech": math.inf}])
def test_shares_that_cannot_be_are_refused(shares):
    with pytest.raises(CodecError, match="must be numbers of 0 or more, not all of them 0"):
        CropPlanner(make_store([9000]), HOP, 0, shares)


@pytest.mark.parametrize("setting", ["domain_weights", "domain_quota"])
def test_a_domain_of_which_nothing_can_be_read_is_refused(setting):
    store = make_store([9000, 0], ["speech", "music"])
    with pytest.raises(CodecError, match=rf"data\.{setting}: no clip of the domain 'music' can be read"):
        CropPlanner(store, HOP, 0, **{setting: {"speech": 1, "music": 1}})
    with pytest.raises(CodecError, match="no clip of the domain 'music' can be read; add a manifest"):
        CropPlanner(store, HOP, 0, augmentation=AugmentationConfig(music_probability=0.5))


def test_an_unknown_domain_is_refused():
    with pytest.raises(CodecError, match=r"no clip of the domain 'musik'; there are: speech; data.domain_weights=null"):
        CropPlanner(make_store([9000]), HOP, 0, {"musik": 1.0})


def test_music_to_mix_in_must_exist():
    with pytest.raises(CodecError, match="no clip of the domain 'music' can be read"):
        CropPlanner(make_store([9000]), HOP, 0, augmentation=AugmentationConfig(music_probability=0.1))


def test_music_is_mixed_in_from_music_clips():
    store = make_store([9000, 9000], ["speech", "music"])
    config = AugmentationConfig(music_probability=1.0)
    plan = CropPlanner(store, 10 * HOP, 0, {"speech": 1.0}, config).plan(0, 0)
    assert plan.clip == 0
    assert plan.music is not None and plan.music[0] == 1


class Numbered:
    """A teacher of 50 Hz whose frame i is the number i; nothing is known before frame 2."""

    rate, offset, mode, num_frames, level, smooth = 50.0, 0.01, "speech", 1000, "frame", False

    def slice(self, first, last):
        numbers = torch.arange(first, last)
        return numbers.float().unsqueeze(1), numbers >= 2

    def read(self, clip):
        return self


@pytest.mark.parametrize("speed_probability", [0.0, 1.0])
def test_teacher_frames_belong_to_the_samples_of_the_crop(speed_probability):
    config = AugmentationConfig(speed_probability=speed_probability)
    planner = CropPlanner(make_store([40 * HOP]), 10 * HOP, 1, augmentation=config)
    batches = CropBatches(planner, HOP, 3, features={"sm": Numbered()})
    frames = batches.batch(0).teachers["sm"]
    for slot in range(3):
        plan = planner.plan(0, slot)
        assert (plan.augmentation.speed != 1.0) == bool(speed_probability)
        centres = plan.start / HOP + (np.arange(10) + 0.5) * plan.augmentation.speed - 0.5
        expected = torch.from_numpy(centres).float()
        inside = expected > 2
        # The nearest frame is at most half a frame off.
        assert ((frames.features[slot, :, 0] - expected)[inside].abs() <= 0.51).all()
        assert frames.mask[slot][inside].all()


def test_features_travel_as_they_are_kept_and_arrive_as_float32():
    class Kept(Numbered):
        def slice(self, first, last):
            features, mask = super().slice(first, last)
            return features.half(), mask

    planner = CropPlanner(make_store([40 * HOP]), 10 * HOP, 1)
    batch = CropBatches(planner, HOP, 3, features={"sm": Kept()}).batch(0)
    arrived = move_batch(batch, torch.device("cpu")).teachers["sm"].features
    assert batch.teachers["sm"].features.dtype == torch.float16
    assert arrived.dtype == torch.float32
    assert torch.equal(
        arrived, CropBatches(planner, HOP, 3, features={"sm": Numbered()}).batch(0).teachers["sm"].features
    )


def test_audio_is_decoded_mixed_down_and_resampled(tmp_path):
    manifest = write_corpus(tmp_path, (0.5,))
    left = make_speech(0.4, 24_000)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, -0.5 * left], axis=1), 24_000, "FLOAT")
    with manifest.open("a") as file:
        file.write(json.dumps({"path": "stereo.wav", "seconds": 0.4}) + "\n")
    store = open_store(read_manifest(manifest), 16_000, tmp_path / "cache")
    assert store.lengths.tolist() == [8000, 6400]
    original, _ = soundfile.read(tmp_path / "clip0.wav", dtype="int16")
    assert np.array_equal(store.samples[:8000], original)
    rms = np.sqrt(np.mean((0.25 * left) ** 2))
    assert np.sqrt(np.mean(store.read(1, 0, 6400) ** 2)) == pytest.approx(rms, rel=0.02)


def test_packed_audio_is_made_once_and_anew_when_a_file_changes(tmp_path):
    clips = read_manifest(write_corpus(tmp_path, (0.5, 0.3)))
    built = []

    def progress(items, total):
        built.append(total)
        return items

    open_store(clips, 16_000, tmp_path / "cache", progress)
    open_store(clips, 16_000, tmp_path / "cache", progress)
    soundfile.write(tmp_path / "clip1.wav", make_speech(0.7), 16_000)
    store = open_store(clips, 16_000, tmp_path / "cache", progress)
    assert built == [2, 2]
    assert store.lengths.tolist() == [8000, 11_200]


def test_recordings_in_a_folder_whose_name_is_not_utf8_are_packed(tmp_path):
    manifest = write_corpus(tmp_path / "coffee", (0.5, 0.3))
    folder = manifest.parent.rename(tmp_path / os.fsdecode(b"caf\xe9"))
    (folder / "clip0.wav").write_bytes(b"no sound")
    clips = read_manifest(folder / manifest.name)
    store = open_store(clips, 16_000, tmp_path / "cache")
    assert store.lengths.tolist() == [0, 4800]
    assert open_store(clips, 16_000, tmp_path / "cache").errors == store.errors  # read from the index


def test_an_interrupted_packing_goes_on_where_it_stopped(tmp_path):
    clips = read_manifest(write_corpus(tmp_path, (0.5, 0.3, 0.4, 0.2)))
    whole = open_store(clips, 16_000, tmp_path / "whole").samples

    def stop_after_two(items, total):
        yield from items[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_store(clips, 16_000, tmp_path / "cache", stop_after_two)
    left = []

    def count(items, total):
        left.append(total)
        return items

    assert np.array_equal(open_store(clips, 16_000, tmp_path / "cache", count).samples, whole)
    assert left == [2]


def test_two_builds_of_one_store_share_nothing(tmp_path):
    """The second begins while the first works, and the first ends after the second, which somebody may read by then."""
    clips = read_manifest(write_corpus(tmp_path, (0.5, 0.3, 0.4, 0.2)))
    whole = open_store(clips, 16_000, tmp_path / "whole").samples

    read = []

    def meanwhile(items, total):
        yield from items[:2]
        assert total == 4
        assert np.array_equal(open_store(clips, 16_000, tmp_path / "cache", alone).samples, whole)
        (made,) = (tmp_path / "cache").glob("[!.]*/index.jsonl")
        read.extend([made, made.stat().st_ino])
        yield from items[2:]

    def alone(items, total):
        assert total == 4, "it went on with what another process still writes"
        return items

    assert np.array_equal(open_store(clips, 16_000, tmp_path / "cache", meanwhile).samples, whole)
    (folder,) = (tmp_path / "cache").iterdir()
    assert read[0].stat().st_ino == read[1]
    assert {path.name for path in folder.iterdir()} == {"audio.i16", "index.jsonl"}


def test_damaged_packed_audio_is_noticed(tmp_path):
    clips = read_manifest(write_corpus(tmp_path, (0.5, 0.3)))
    open_store(clips, 16_000, tmp_path / "cache")
    audio = next((tmp_path / "cache").glob("*/audio.i16"))
    audio.write_bytes(audio.read_bytes()[:-2])
    with pytest.raises(CodecError, match="packed audio is damaged; delete this folder"):
        open_store(clips, 16_000, tmp_path / "cache")


def data_config(manifest, folder, **changes) -> DataConfig:
    return DataConfig(manifests=(str(manifest),), cache=str(folder / "cache"), **changes)


def open_all(config: DataConfig, warn=print) -> AudioStore:
    return open_audio(config, training_clips(config), 16_000, None, warn)


def test_nan_audio_is_refused_by_name_or_left_out(tmp_path):
    manifest = write_corpus(tmp_path, (0.5, 0.3))
    wav = make_speech(0.3)
    wav[100] = np.nan
    soundfile.write(tmp_path / "clip1.wav", wav, 16_000, "FLOAT")
    with pytest.raises(CodecError, match=r"clip1\.wav: holds NaN or infinite samples"):
        open_all(data_config(manifest, tmp_path))
    warnings = []
    store = open_all(data_config(manifest, tmp_path, skip_bad_audio=True), warnings.append)
    assert store.lengths.tolist() == [8000, 0]
    assert len(warnings) == 1 and "clip1.wav" in warnings[0]
    planner = CropPlanner(store, HOP, 0)
    assert {planner.plan(0, slot).clip for slot in range(50)} == {0}


def test_missing_audio_is_named(tmp_path):
    manifest = write_corpus(tmp_path, (0.5, 0.3))
    (tmp_path / "clip1.wav").unlink()
    with pytest.raises(CodecError, match=r"clip1\.wav: no such file; the manifest names it"):
        open_all(data_config(manifest, tmp_path))


def test_an_empty_manifest_is_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(CodecError, match="the manifest is empty"):
        training_clips(data_config(tmp_path / "empty.jsonl", tmp_path))


def test_a_folder_of_audio_serves_as_a_manifest(tmp_path):
    write_corpus(tmp_path / "wavs", (0.5, 0.3))
    store = open_all(data_config(tmp_path / "wavs", tmp_path))
    assert store.lengths.tolist() == [8000, 4800]


def test_max_clips_are_spread_evenly(tmp_path):
    manifest = write_corpus(tmp_path, (0.1,) * 6)
    clips = training_clips(data_config(manifest, tmp_path, max_clips=3))
    assert [clip.path for clip in clips] == ["clip0.wav", "clip2.wav", "clip4.wav"]


def test_a_root_is_of_manifests_and_not_of_folders(tmp_path):
    """Both have a file of the same name, so that taking the wrong one would not be noticed."""
    manifest = write_corpus(tmp_path / "manifest", (0.1,))
    write_corpus(tmp_path / "folder", (0.2,))
    write_corpus(tmp_path / "root", (0.3,))
    config = DataConfig((str(manifest), str(tmp_path / "folder")), root=str(tmp_path / "root"))
    roots = [clip.root for clip in training_clips(config)]
    assert roots == [str(tmp_path / "root"), str((tmp_path / "folder").resolve())]
    assert [read_clips(source, config.root)[0].root for source in config.manifests] == roots
    with pytest.raises(CodecError, match="nowhere: no such folder; root is the folder that the paths in"):
        read_manifest(manifest, "nowhere")
