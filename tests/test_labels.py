"""Phones as a teacher: the class of each frame, and clips of which nothing is known. Examples of the docs."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.align.phones import phones_at_frames
from codec.align.types import Alignment, Interval, Omitted, Utterance
from codec.cli import features
from codec.cli.features import ExtractConfig, extract
from codec.config import from_dict
from codec.data import Clip, write_manifest
from codec.errors import CodecError
from codec.jobs.batches import StageReport
from codec.settings import read_config
from codec.teachers import build_teacher, labels, teacher_configs
from codec.teachers.features import Crop, FeatureCache, FeatureInfo, crop_frames
from codec.teachers.labels import PHONES, label_frames
from codec.teachers.language import is_speech
from codec.teachers.teaching import TeacherSource, teacher_losses
from codec.train.config import TrainConfig
from codec.train.losses.registry import LossContext
from codec.train.objective import Objective

CLIPS = [
    Clip("a.wav", 1.0, text="a cat", language="en"),
    Clip("b.wav", 1.0, text="too noisy", language="en"),
    Clip("c.wav", 1.0, text="eine Katze", language="de"),
    Clip("d.wav", 1.0, text="la la", domain="music"),
    Clip("e.wav", 1.0),
]
SAID = (Interval("SIL", 0.0, 0.2), Interval("K", 0.2, 0.31), Interval(None, 0.31, 0.5), Interval("AE", 0.5, 0.8))


@pytest.fixture
def aligner(monkeypatch):
    """An aligner that knows one clip; the names that it was asked about."""
    asked = []

    def align(clips, cache, skipped):
        asked.extend(clip.name for clip in clips)
        skipped.extend(Omitted(clip.name, "does not fit") for clip in clips if clip.name != "a")
        return {"a": SAID} if any(clip.name == "a" for clip in clips) else {}

    monkeypatch.setattr(labels, "align_clips", align)
    monkeypatch.setattr(labels, "check_aligner", lambda: None)
    return asked


def test_phones_are_one_hot_rows_and_what_is_unknown_is_masked(aligner):
    teacher = build_teacher("phones", {"type": "labels"})
    teacher.prepare(CLIPS, {})
    found = teacher.features([Utterance(clip) for clip in CLIPS])
    assert sorted(aligner) == ["a", "b"]  # and each of them once
    assert [bool(item.mask.any()) for item in found] == [True, False, False, False, False]
    frames = [PHONES[i] if m else None for i, m in zip(found[0].index.tolist(), found[0].mask.tolist(), strict=True)]
    assert frames == ["SIL"] * 20 + ["K"] * 11 + [None] * 19 + ["AE"] * 30 + [None] * 20
    assert torch.equal(found[0].features, torch.eye(len(PHONES))) and teacher.info.dim == len(PHONES) == 40


@pytest.mark.parametrize(
    "clip, speech",
    [
        (Clip("a.wav", 1.0), True),
        (Clip("a.wav", 1.0, domain="studio"), False),
        (Clip("a.wav", 1.0, domain="studio", text="a cat"), True),
        (Clip("a.wav", 1.0, domain="studio", language="en"), True),
        *((Clip("a.wav", 1.0, domain=domain, text="a cat"), False) for domain in ("music", "sound", "mixed")),
    ],
)
def test_a_domain_of_the_user_s_own_is_speech_if_its_text_or_language_is_known(clip, speech, aligner):
    assert is_speech(clip) == speech
    teacher = build_teacher("phones", {"type": "labels"})
    (found,) = teacher.features([Utterance(clip)])
    assert bool(found.mask.any()) == (speech and clip.text is not None)


def test_clips_without_phones_are_an_error_before_work(aligner):
    teacher = build_teacher("phones", {"type": "labels"})
    with pytest.raises(CodecError, match="none of 3 clips is English speech with a text"):
        teacher.prepare(CLIPS[2:], {})
    with pytest.raises(CodecError, match="b: does not fit; no clip could be aligned"):
        teacher.prepare(CLIPS[1:], {})


def test_extraction_asks_for_no_words_of_clips_that_have_no_phones(aligner, tmp_path):
    write_manifest(tmp_path / "all.jsonl", CLIPS)
    config = ExtractConfig(str(tmp_path / "all.jsonl"), str(tmp_path / "cache"), {"phones": {"type": "labels"}})
    assert extract(config) == 0
    cache = FeatureCache(tmp_path / "cache", "phones")
    assert not cache.missing(CLIPS)
    assert [bool(cache.read(clip).mask.any()) for clip in CLIPS] == [True, False, False, False, False]


@pytest.mark.parametrize("recogniser", [True, False])
def test_what_a_recogniser_heard_is_the_text_of_clips_without_one(monkeypatch, tmp_path, recogniser):
    """Those with a text keep it, and other languages and music are not listened to."""
    heard, texts = [], {}

    def recognise(clips, aligner, store, batch_seconds):
        heard.extend(clip.name for clip in clips)
        store.append([Alignment(clip.name, (Interval("a", 0.1, 0.2), Interval("dog", 0.2, 0.9)), "t") for clip in clips])
        return StageReport()

    def align(clips, cache, skipped):
        texts.update({clip.name: clip.text for clip in clips})
        return {clip.name: SAID for clip in clips}

    monkeypatch.setattr(features, "extract_words", recognise)
    monkeypatch.setattr(features, "build_aligner", lambda config: None)
    monkeypatch.setattr(labels, "align_clips", align)
    monkeypatch.setattr(labels, "check_aligner", lambda: None)
    clips = [*CLIPS, Clip("f.wav", 1.0, language="fr")]
    write_manifest(tmp_path / "all.jsonl", clips)
    values = {"manifest": str(tmp_path / "all.jsonl"), "cache": str(tmp_path / "cache"), "teachers": {"phones": {"type": "labels"}}}
    words = {"words": {"type": "faster_whisper", "model": "cache/whisper"}} if recogniser else {}
    assert extract(from_dict(ExtractConfig, values | words)) == 0
    assert heard == (["e"] if recogniser else [])
    assert texts == {"a": "a cat", "b": "too noisy"} | ({"e": "a dog"} if recogniser else {})
    cache = FeatureCache(tmp_path / "cache", "phones")
    known = {clip.name for clip in clips if cache.read(clip).mask.any()}
    assert known == set(texts)


@settings(deadline=None, max_examples=40)
@given(borders=st.lists(st.integers(1, 99), min_size=1, max_size=12, unique=True), hop=st.sampled_from([200, 256, 400]))
def test_the_codec_s_frames_get_the_phones_that_the_probe_sees(tmp_path_factory, borders, hop):
    edges = [0, *sorted(borders), 100]
    phones = tuple(
        Interval(None if i % 5 == 4 else PHONES[i % 40], edges[i] / 100, edges[i + 1] / 100)
        for i in range(len(edges) - 1)
    )
    cache, clip = FeatureCache(tmp_path_factory.mktemp("phones"), "phones"), Clip("a.wav", 1.0)
    cache.write(clip, label_frames(phones, 1.0), FeatureInfo("p", "phones", 100.0, 0.005, "labels", 40))
    num_frames = 16_000 // hop
    found = crop_frames(cache.read(clip), Crop(0, num_frames, hop, 16_000))
    expected = phones_at_frames(phones, num_frames, 16_000 / hop)
    centres = (torch.arange(num_frames) + 0.5) * hop / 160
    for frame, phone in enumerate(expected):
        # On a border, both phones are as near.
        if abs(float(centres[frame]) - round(float(centres[frame]))) > 1e-6:
            assert bool(found.mask[frame]) == (phone is not None)
            assert phone is None or PHONES[int(found.features[frame].argmax())] == phone


def test_the_examples_of_the_docs_are_teachers():
    page = (Path(__file__).parents[1] / "docs/teachers.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(text)["teachers"] for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    sources = {k: from_dict(TeacherSource, v, k) for example in examples for k, v in example.items()}
    assert {"speech", "music", "pitch", "phones", "own"} <= sources.keys()
    for source in sources.values():
        options = {key: value for key, value in source.live.items() if key != "type"}
        from_dict(teacher_configs()[source.kind], options, source.kind)
        assert source.weight > 0


def test_the_shipped_config_of_several_teachers_makes_their_losses():
    config = read_config(TrainConfig, "multi_teacher")
    infos = {
        name: FeatureInfo("m", "avg", 50.0, 0.0, "labels" if source.kind == "labels" else "music", 8)
        for name, source in config.teachers.items()
    }
    losses = teacher_losses(config.teachers, infos, config.losses)
    context = LossContext(16_000, config.model.network.latent_dim, 8, dict.fromkeys(infos, 8))
    for options in losses.values():
        options.pop("standardize", None)  # no calibration was made here
    objective = Objective(config.losses | losses, context, config.weighting)
    assert set(objective.weighting.names) == {f"distill_{name}" for name in config.teachers}
    assert {source.kind for source in config.teachers.values()} == {"speech", "music", "labels"}
    for name, source in config.teachers.items():
        build = {key: value for key, value in source.live.items() if key != "type"}
        assert source.live["type"] == source.kind and (source.kind == "labels" or build["model"]), name
