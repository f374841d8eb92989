"""Music: notes rendered by a recipe, the probe of instrument and pitch, and the agreement of tags."""

import dataclasses
import itertools
import sys

import numpy as np
import pytest
import soundfile
import torch
from recipe_modules import RECIPES, load_recipe

pytest.importorskip("sklearn")
pytest.importorskip("onnxruntime")

from tiny_encoders import save_musicnn

from codec.data import Clip, read_manifest
from codec.errors import CodecError
from codec.eval.measures import MetricSettings, build_measures
from codec.eval.measures.tags import tag_agreement
from codec.eval.probes import TokenTable, probe_tokens
from codec.eval.probes.features import nearest_centroid
from codec.eval.probes.sources import View
from codec.eval.training import Training
from codec.eval.types import Pair, Skip

PITCHES, TIMBRES = ("C4", "D4", "E4", "F4"), ("flute", "organ", "piano", "violin")


@pytest.fixture(scope="module")
def recipe():
    yield load_recipe("notes")
    del sys.modules["notes_recipe"]


@pytest.fixture(scope="module")
def melodies():
    """recipes/melodies.py, which imports its neighbour as a script does."""
    before = sys.modules.get("notes")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(RECIPES))
        yield load_recipe("melodies")
    del sys.modules["melodies_recipe"]
    if before is None:
        sys.modules.pop("notes", None)


def events(midi):
    """Seconds, status and first byte of a track's events, at 480 ticks to a quarter note of half a second."""
    track, at, now = midi[22:], 0, 0
    while at < len(track):
        ticks = 0
        while True:
            byte, at = track[at], at + 1
            ticks = ticks << 7 | byte & 0x7F
            if byte < 0x80:
                break
        now += ticks
        status = track[at]
        yield now / 960, status, track[at + 1]
        at += {0xC0: 2, 0x90: 3, 0x80: 3, 0xFF: 3}[status]


def sines(midi):
    """What the file asks for, as sines: a stand-in for a synthesiser."""
    found = list(events(midi))
    samples = np.zeros(round(found[-1][0] * 48_000), np.float32)
    time = np.arange(48_000 * 9 // 10) / 48_000
    for start, status, note in found:
        if status == 0x90:
            begin = round(start * 48_000)
            part = samples[begin : begin + len(time)]
            part[:] = 0.5 * np.sin(2 * np.pi * 440 * 2 ** ((note - 69) / 12) * time[: len(part)])
    return samples


def test_notes_are_cut_where_they_sound_and_labelled_with_their_pitch(recipe, tmp_path):
    config = recipe.NotesConfig(str(tmp_path / "a"), instruments={"flute": 73, "organ": 19}, pitches=3)
    recipe.write_notes(config, sines)
    clips = read_manifest(tmp_path / "a" / "notes.jsonl")
    assert [(clip.speaker, clip.label) for clip in clips[:4]] == [
        ("flute", "C4"), ("flute", "C#4"), ("flute", "D4"), ("organ", "C4"),
    ]  # fmt: skip
    for number, clip in enumerate(clips):
        wav, rate = soundfile.read(clip.audio)
        assert (len(wav), rate, clip.domain) == (16_000, 16_000, "music")
        loudest = np.argmax(np.abs(np.fft.rfft(wav))) * rate / len(wav)
        assert loudest == pytest.approx(440 * 2 ** ((60 + number % 3 - 69) / 12), abs=1.0)
    recipe.write_notes(dataclasses.replace(config, output=str(tmp_path / "b")), sines)
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_the_recipe_refuses_what_cannot_be_rendered(recipe, tmp_path, monkeypatch):
    with pytest.raises(CodecError, match="0 to 127"):
        recipe.NotesConfig(lowest=120, pitches=12)
    with pytest.raises(CodecError, match="up to 2.5 s"):
        recipe.NotesConfig(seconds=3.0)
    config = recipe.NotesConfig(str(tmp_path), instruments={"flute": 73})
    with pytest.raises(CodecError, match="note C4 is silent"):
        recipe.write_notes(config, lambda midi: np.zeros(48_000 * 60, np.float32))
    with pytest.raises(CodecError, match="apt-get install"):
        recipe.fluidsynth(str(tmp_path / "none.sf2"))


def test_melodies_are_lines_of_keys_that_follow_each_other(melodies):
    for seed in range(20):
        for program in (58, 73):
            notes = melodies.melody(np.random.default_rng(seed), program, 12.0)
            starts = [note.start for note in notes]
            assert len(notes) > 3 and starts == sorted(starts)
            assert all(a.start + a.held <= b.start for a, b in itertools.pairwise(notes))
            assert notes[-1].start + notes[-1].held <= 12 * 960
            assert all(24 <= note.number <= 108 and 1 <= note.velocity <= 127 for note in notes)
    low, high = (
        np.mean([note.number for seed in range(20) for note in melodies.melody(np.random.default_rng(seed), p, 12.0)])
        for p in (58, 73)
    )
    assert high - low == pytest.approx(24)


def test_melodies_depend_on_the_seed_and_their_number_alone(melodies, tmp_path):
    config = melodies.MelodiesConfig(str(tmp_path / "a"), clips=4, seconds=3.0)
    melodies.write_melodies(config, sines)
    clips = read_manifest(tmp_path / "a" / "melodies.jsonl")
    waves = [soundfile.read(clip.audio)[0] for clip in clips]
    assert [clip.domain for clip in clips] == ["melodies"] * 4
    assert all(len(wav) == 48_000 and 0.09 < np.abs(wav).max() <= 1.0 for wav in waves)
    assert not np.array_equal(waves[0], waves[1])
    fewer = dataclasses.replace(config, output=str(tmp_path / "b"), clips=2)
    melodies.write_melodies(fewer, sines)
    for file in (tmp_path / "b").glob("*.flac"):
        assert file.read_bytes() == (tmp_path / "a" / file.name).read_bytes()
    other = melodies.render_clip(dataclasses.replace(config, seed=1), 0, sines)
    assert not np.allclose(other, waves[0], atol=1e-3)


def test_melodies_refuse_settings_and_a_soundfont_without_sound(melodies, tmp_path):
    with pytest.raises(CodecError, match="at least one clip"):
        melodies.MelodiesConfig(clips=0)
    config = melodies.MelodiesConfig(str(tmp_path), seconds=2.0)
    with pytest.raises(CodecError, match="melody 0 is silent"):
        melodies.write_melodies(config, lambda midi: np.zeros(96_000, np.float32))


def notes(instrument_code, pitch_code):
    """A clip of each timbre and pitch, with codes that tell one, the other or nothing."""
    rng, clips, codes = np.random.default_rng(0), [], {}
    for timbre, instrument in enumerate(TIMBRES):
        for height, pitch in enumerate(PITCHES):
            clip = Clip(f"{instrument}-{pitch}.wav", 1.0, speaker=instrument, domain="music", label=pitch)
            shift = 4 * (timbre * instrument_code + 4 * height * pitch_code)
            codes[clip.name] = torch.from_numpy(rng.integers(4, size=(1, 60)) + shift)
            clips.append(clip)
    return clips, TokenTable(codes, 50, codebook_size=64)


@pytest.mark.parametrize("classifier", ["linear", "centroid"])
@pytest.mark.parametrize(("instrument", "pitch"), [(1, 0), (0, 1), (0, 0)])
def test_instrument_and_pitch_are_each_found_where_codes_tell_them(instrument, pitch, classifier, tmp_path):
    clips, tokens = notes(instrument, pitch)
    options = {"notes": {"shots": [1, 2], "draws": 10, "classifier": classifier}}
    result = probe_tokens(tokens, clips, None, ["notes"], 0, tmp_path, options)["notes"]
    for name, told in (("instrument", instrument), ("pitch", pitch)):
        for shots in (1, 2):
            measure = result.measure(f"{name}_accuracy_{shots}_shot")
            assert measure.baseline == pytest.approx(1 / 4)
            assert measure.value == 1.0 if told else measure.value < 0.5


def test_the_nearest_centroid_by_hand():
    # Means at (0, 0) and (4, 0): the border is at 2, though the nearest single row of (2.5, 0) is the one at 1.
    seen = np.array([[-1.0, 0.0], [1.0, 0.0], [4.0, -3.0], [4.0, 3.0]])
    labels = np.array(["a", "a", "b", "b"])
    new = np.array([[1.9, 0.0], [2.5, 0.0], [2.5, 9.0], [-7.0, 1.0]])
    found = nearest_centroid(View(1, "one-hot"), seen, labels, new)
    assert found.tolist() == ["a", "b", "b", "a"]
    # Vectors are standardised, so that a dimension of another size does not outweigh the others.
    seen[2:, 1] += 4
    for size in (1, 1e3):
        wide = np.array([1, size])
        assert nearest_centroid(View(1, "vectors"), seen * wide, labels, new[:1] * wide + [2, 0]).tolist() == ["b"]


def test_what_goes_with_the_instrument_does_not_pass_for_pitch(tmp_path):
    # Codes name the pair: what is learned from some instruments is worth nothing for the others.
    clips, _ = notes(0, 0)
    codes = {clip.name: torch.full((1, 20), number) for number, clip in enumerate(clips)}
    options = {"notes": {"shots": [2], "draws": 10}}
    tokens = TokenTable(codes, 50, codebook_size=16)
    result = probe_tokens(tokens, clips, None, ["notes"], 0, tmp_path, options)["notes"]
    assert result.measure("pitch_accuracy_2_shot").value <= 0.3
    assert result.measure("instrument_accuracy_2_shot").value <= 0.3


def test_clips_without_instrument_or_note_are_named_and_too_few_refused(tmp_path):
    clips, tokens = notes(1, 1)
    more = [*clips, Clip("x.wav", 1.0, label="C4")]
    result = probe_tokens(tokens, more, None, ["notes"], 0, tmp_path, {"notes": {"shots": [1]}})["notes"]
    assert [(skip.clip, skip.reason) for skip in result.skipped] == [("x", "no speaker or label")]
    with pytest.raises(CodecError, match="10 of `label` for 5 shots"):
        probe_tokens(tokens, clips, None, ["notes"], 0, tmp_path)


def test_few_shots_can_go_by_another_field(tmp_path):
    clips, tokens = notes(1, 0)
    options = {"fewshot": {"by": "speaker", "shots": [2], "draws": 5}}
    result = probe_tokens(tokens, clips, None, ["fewshot"], 0, tmp_path, options)["fewshot"]
    assert result.measure("balanced_accuracy_2_shot").value == 1.0
    with pytest.raises(CodecError, match="two classes in `language`"):
        probe_tokens(tokens, clips, None, ["fewshot"], 0, tmp_path, {"fewshot": {"by": "language"}})


def test_tags_agree_with_themselves_and_less_with_others():
    rng = np.random.default_rng(0)
    tags = rng.uniform(0.01, 0.5, 50)
    assert tag_agreement(tags, tags) == {"tags": 1.0, "tags_distance": 0.0}
    near, far = (tag_agreement(tags, np.clip(tags + rng.normal(0, size, 50), 0, 1)) for size in (0.02, 0.3))
    assert near["tags_distance"] < far["tags_distance"] and near["tags"] > far["tags"]
    # Twice the odds of every tag: the same order, at a distance of log 2.
    odds = 2 * tags / (1 - tags)
    assert tag_agreement(tags, odds / (1 + odds)) == pytest.approx({"tags": 1.0, "tags_distance": np.log(2)})
    swapped = tags[::-1]
    assert tag_agreement(tags, swapped)["tags_distance"] == pytest.approx(
        tag_agreement(swapped, tags)["tags_distance"]
    )
    assert np.isfinite(tag_agreement(np.zeros(50), np.ones(50))["tags_distance"])


def test_the_metric_of_tags_hears_the_output(tmp_path):
    (tags,) = build_measures(["tags"], MetricSettings(tag_model=str(save_musicnn(tmp_path / "musicnn"))))
    rng = np.random.default_rng(0)
    wav, other = (rng.normal(0, 0.1, 60_000).astype(np.float32) for _ in range(2))
    clip = Clip("a.wav", 4.0, domain="music")
    assert tags(Pair(clip, wav, wav)) == {"tags": 1.0, "tags_distance": 0.0}
    assert tags(Pair(clip, wav, 0.01 * other))["tags_distance"] > 0
    with pytest.raises(Skip, match="silent"):
        tags(Pair(clip, wav, np.zeros_like(wav)))
    assert Training(["distill_music:musicnn", "mel"]).like(tags.resembles) == ["distill_music:musicnn"]


def test_the_metric_of_tags_needs_its_model(tmp_path):
    with pytest.raises(CodecError, match="--tag-model FOLDER"):
        build_measures(["tags"], MetricSettings())
    with pytest.raises(CodecError, match="no msd_musicnn.onnx"):
        build_measures(["tags"], MetricSettings(tag_model=str(tmp_path)))
