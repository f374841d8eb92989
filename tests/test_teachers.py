"""Teachers: independence from batching and cutting, layers, modes, errors, and a whole extraction."""

import json
import shutil
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import transformers
from conftest import make_speech
from safetensors.torch import load_file
from tiny_teachers import save_bert, save_ctc, save_hubert, save_whisper

from codec.align.registry import build_aligner, read_words_config
from codec.align.store import AlignmentStore
from codec.align.types import Alignment, Interval, Utterance
from codec.cli.features import ExtractConfig
from codec.cli.features import main as extract_features
from codec.config import from_dict
from codec.data import Clip, write_manifest
from codec.encoders.hub import locate, teacher_id
from codec.encoders.layers import choose_layers
from codec.encoders.waveform import cut_at_silence
from codec.errors import CodecError
from codec.settings import read_config
from codec.teachers import build_teacher, teacher_configs
from codec.teachers.features.cache import ExpectedFeatures, FeatureCache
from codec.teachers.features.live import LiveFeatures


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of all tiny models."""
    folder = tmp_path_factory.mktemp("models")
    return {
        "group": save_hubert(folder / "hubert"),
        "layer": save_hubert(folder / "hubert-large", norm="layer"),
        "whisper": save_whisper(folder / "whisper"),
        "bert": save_bert(folder / "bert"),
        "ctc": save_ctc(folder / "ctc"),
    }


def speech_teacher(models, kind, **options):
    return build_teacher("sm", {"type": "speech", "model": models[kind], **options})


def utterances(*lengths):
    torch.manual_seed(0)
    clips = [Clip(path=f"{n}.wav", seconds=n / 16_000) for n in lengths]
    return [Utterance(clip, torch.randn(n) * 0.1) for clip, n in zip(clips, lengths, strict=True)]


def close(a, b):
    return torch.allclose(a, b, atol=2e-5)


@pytest.mark.parametrize("kind", ["group", "layer", "whisper"])
def test_features_do_not_depend_on_the_batch(models, kind):
    teacher = speech_teacher(models, kind, tail_seconds=0.3)
    batch = utterances(8_000, 16_100, 9_000, 16_100)
    together = teacher.features(batch)
    for utterance, found in zip(batch, together, strict=True):
        (alone,) = teacher.features([utterance])
        assert alone.features.shape == found.features.shape == (len(found.mask), 16)
        assert close(alone.features, found.features)
    assert not close(together[1].features, together[3].features)


@pytest.mark.parametrize("kind", ["group", "layer"])
def test_hubert_frames_are_those_of_the_model_itself(models, kind):
    model = transformers.HubertModel.from_pretrained(models[kind]).eval()
    teacher = speech_teacher(models, kind, layer=[0, 2])
    (utterance,) = utterances(48_000)
    (found,) = teacher.features([utterance])
    normal = (utterance.wav - utterance.wav.mean()) / (utterance.wav.var(correction=0) + 1e-7).sqrt()
    states = model(normal[None], output_hidden_states=True).hidden_states
    assert found.features.shape == (149, 16) and teacher.info.layer == "0,2"
    assert close(found.features, (states[0] + states[2])[0] / 2)
    assert (teacher.info.rate, teacher.info.offset) == (50.0, 0.0125)


def test_whisper_frames_are_those_of_the_model_itself(models):
    model = transformers.WhisperModel.from_pretrained(models["whisper"]).encoder.eval()
    extractor = transformers.WhisperFeatureExtractor(feature_size=80, chunk_length=2)
    (utterance,) = utterances(20_000)
    mel = extractor(utterance.wav.numpy(), sampling_rate=16_000, return_tensors="pt").input_features
    states = model(mel, output_hidden_states=True).hidden_states
    teacher = speech_teacher(models, "whisper")
    (found,) = teacher.features([utterance])
    assert found.features.shape == (63, 16)
    assert close(found.features, torch.stack(states).mean(dim=0)[0, :63])
    (last,) = speech_teacher(models, "whisper", layer="last").features([utterance])
    assert close(last.features, states[-1][0, :63])
    assert (teacher.info.rate, teacher.info.offset) == (50.0, 0.0)


def test_a_whisper_without_preprocessor_file_works_with_defaults(models, tmp_path):
    folder = tmp_path / "bare"
    shutil.copytree(models["whisper"], folder)
    (folder / "preprocessor_config.json").unlink()
    batch = utterances(20_000)
    expected = speech_teacher(models, "whisper").features(batch)[0].features
    found = build_teacher("sm", {"type": "speech", "model": str(folder)}).features(batch)[0].features
    assert close(found, expected)


@pytest.mark.parametrize("kind, frames", [("group", 299), ("layer", 299), ("whisper", 300)])
def test_long_audio_is_cut_and_stitched_without_losing_a_frame(models, kind, frames):
    (utterance,) = utterances(96_000)
    teacher = speech_teacher(models, kind, max_seconds=2.0)
    (found,) = teacher.features([utterance])
    assert len(found.features) == frames
    first = cut_at_silence(utterance.wav, 320, 32_000)[0]
    if kind == "whisper":
        piece = Utterance(utterance.clip, utterance.wav[: first.stop])
        (alone,) = teacher.features([piece])
        assert close(alone.features, found.features[: len(alone.features)])


def test_audio_is_cut_where_it_is_quiet():
    wav = torch.randn(50_000)
    wav[18_000:20_000] = 0
    windows = cut_at_silence(wav, 320, 24_000)
    assert windows[0].start == 0 and windows[-1].stop == 50_000
    assert all(a.stop == b.start and a.stop % 320 == 0 for a, b in pairwise(windows))
    assert all(window.stop - window.start <= 24_000 for window in windows)
    assert 18_000 <= windows[0].stop <= 20_000


@pytest.mark.parametrize(
    "layer, name, indices",
    [("avg", "avg", (0, 1, 2)), ("last", "last", (2,)), (1, "1", (1,)), ([0, 2], "0,2", (0, 2))],
)
def test_layer_choices(layer, name, indices):
    choice = choose_layers(layer, 2)
    assert (choice.name, choice.indices) == (name, indices)


@pytest.mark.parametrize(
    "layer, message", [("middle", "expected avg, last"), (3, "hidden states 0 to 2"), (-1, "0 to 2")]
)
def test_wrong_layers_are_refused(layer, message):
    with pytest.raises(CodecError, match=message):
        choose_layers(layer, 2)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"type": "sound"}, "type: unknown teacher 'sound'; known: .*language"),
        ({"type": "speech", "layers": 1}, "unknown key 'layers'; did you mean 'layer'"),
        ({"type": "speech"}, "no model named"),
        ({"type": "speech", "model": "./nowhere/x"}, "no such folder"),
        ({"type": "speech", "model": "package:no_such_package/model"}, "no package 'no_such_package'"),
    ],
)
def test_wrong_teachers_are_one_line(options, message):
    with pytest.raises(CodecError, match=message):
        build_teacher("sm", options)


def test_a_text_model_is_no_speech_teacher_and_the_reverse(models):
    with pytest.raises(CodecError, match="'bert' takes no waveform"):
        build_teacher("sm", {"type": "speech", "model": models["bert"]})
    with pytest.raises(CodecError, match="'whisper' is not a text encoder"):
        build_teacher("lm", {"type": "language", "model": models["whisper"]})


def test_caches_do_not_keep_a_machines_paths(models):
    assert teacher_id(models["bert"]) == "bert"
    assert teacher_id("facebook/hubert-base-ls960") == "facebook/hubert-base-ls960"
    assert teacher_id("package:transformers/models") == "transformers/models"
    assert Path(locate("package:transformers/models")).is_dir()


def language_teacher(models, mode, **options):
    options = {"type": "language", "model": models["bert"], "layer": "last", "mode": mode, **options}
    return build_teacher("lm", options)


def said(name: str, text: str, **values) -> Utterance:
    """0.2 s a word from 0.1 s on, with 0.1 s between."""
    words = [Interval(word, 0.1 + 0.3 * i, 0.3 + 0.3 * i) for i, word in enumerate(text.split())]
    clip = Clip(path=f"{name}.wav", seconds=0.3 * len(words) + 0.1, text=text, **values)
    return Utterance(clip, None, Alignment(clip.name, tuple(words), "test"))


def frames_of(features):
    return features.features[features.index.long()]


def bert_states(models, text):
    model = transformers.BertModel.from_pretrained(models["bert"]).eval()
    tokenizer = transformers.BertTokenizerFast.from_pretrained(models["bert"])
    return model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]


def test_aligned_frames_hold_the_states_of_the_word_spoken(models):
    batch = [said("a", "the cats sat"), said("b", "dog")]
    found = language_teacher(models, "aligned").features(batch)
    states = bert_states(models, "the cats sat")
    mask = found[0].mask
    assert mask.tolist() == ([False] * 5 + [True] * 10) * 3 + [False] * 5
    expected = torch.cat([states[1:2].expand(10, -1), states[2:3].expand(5, -1), states[3:4].expand(5, -1)])
    expected = torch.cat([expected, states[4:5].expand(10, -1)])
    assert close(frames_of(found[0])[mask], expected)
    assert close(frames_of(found[1])[found[1].mask], bert_states(models, "dog")[1:2].expand(10, -1))


def test_cls_is_one_vector_on_all_frames(models):
    (found,) = language_teacher(models, "cls").features([said("a", "the cat sat")])
    assert found.mask.all() and found.features.shape == (1, 16)
    assert close(frames_of(found), bert_states(models, "the cat sat")[:1].expand(50, -1))


def test_index_pairs_tokens_with_frames_and_pads(models):
    (found,) = language_teacher(models, "index").features([said("a", "the cat sat")])
    assert found.features.shape == (24, 16) and found.mask.all()
    assert close(found.features[:5], bert_states(models, "the cat sat"))


def test_shuffled_keeps_times_and_takes_another_clips_states(models):
    batch = [said("a", "the cat sat"), said("b", "dog ran"), said("c", "far away")]
    words = {utterance.clip.name: utterance.words for utterance in batch}
    teacher = language_teacher(models, "shuffled")
    teacher.prepare([utterance.clip for utterance in batch], words)
    aligned = language_teacher(models, "aligned").features(batch)
    shuffled = teacher.features(batch)
    own = [bert_states(models, utterance.clip.text) for utterance in batch]
    for number, (right, wrong) in enumerate(zip(aligned, shuffled, strict=True)):
        assert torch.equal(right.mask, wrong.mask)
        rows = frames_of(wrong)[wrong.mask]
        distance = [(rows[:, None] - states[None]).norm(dim=2).min(dim=1).values.max() for states in own]
        assert distance[number] > 1e-2 and min(distance) < 1e-4


def test_texts_beyond_the_window_are_cut_at_words(models):
    text = " ".join(["cats"] * 30)
    aligned, cls = language_teacher(models, "aligned"), language_teacher(models, "cls")
    (found,) = aligned.features([said("a", text)])
    assert found.features.shape == (60, 16) and int(found.mask.sum()) == 300
    piece = bert_states(models, " ".join(["cats"] * 11))
    assert close(found.features[:22], piece[1:-1]) and close(found.features[22:44], piece[1:-1])
    rest = bert_states(models, " ".join(["cats"] * 8))
    (sentence,) = cls.features([said("a", text)])
    assert close(sentence.features[0], (2 * piece[0] + rest[0]) / 3)


@pytest.mark.parametrize("mode", ["aligned", "cls", "index", "shuffled"])
def test_other_languages_and_music_are_masked(models, mode):
    batch = [said("a", "the cat", language="de"), said("b", "", language="en", domain="music")]
    teacher = language_teacher(models, mode, languages=["en"])
    teacher.prepare([utterance.clip for utterance in batch], {})
    for found in teacher.features(batch):
        assert len(found.mask) and not found.mask.any() and found.features.isfinite().all()


def test_missing_text_is_named_before_work(models):
    clips = [Clip("a.wav", 1.0, text="the cat"), Clip("b.wav", 1.0)]
    with pytest.raises(CodecError, match=r"b\.wav: 1 of 2 clips have no text"):
        language_teacher(models, "cls").prepare(clips, {})


def test_transformers_whisper_times_a_known_text(models):
    timer = build_aligner(read_words_config({"type": "whisper", "model": models["whisper"]}))
    clip = Clip("a.wav", 1.5, language="en", text="the cat sat")
    (found,) = timer.align([Utterance(clip, torch.from_numpy(make_speech(1.5)))])
    assert found.text == "the cat sat" and found.source == "whisper:transferred"
    assert all(0 <= word.start <= word.end <= 2.0 for word in found.intervals)


@pytest.fixture(scope="module")
def ctranslate_timer(tmp_path_factory):
    """A tiny Whisper of 30 s windows in CTranslate2's format."""
    pytest.importorskip("faster_whisper")
    from ctranslate2.converters import TransformersConverter

    folder = tmp_path_factory.mktemp("ctranslate")
    source = save_whisper(folder / "whisper", positions=1500, text_positions=448)
    TransformersConverter(source, copy_files=["tokenizer.json"]).convert(str(folder / "ct2"))
    options = {"type": "faster_whisper", "model": str(folder / "ct2"), "compute_type": "float32"}
    return build_aligner(read_words_config(options))


def noise(text, seconds=1.5):
    torch.manual_seed(0)
    clip = Clip("a.wav", seconds, language="en", text=text)
    return Utterance(clip, torch.randn(round(seconds * 16_000)) * 0.1)


def test_ctranslate_whisper_aligns_recognises_and_transfers(ctranslate_timer):
    batch = [noise("the cat sat"), noise(None), noise(" "), noise("the cat", 30.5)]
    forced, recognised, empty, transferred = ctranslate_timer.align(batch)
    assert (forced.text, forced.source) == ("the cat sat", "ct2:forced")
    assert recognised.source == "ct2:recognised" and empty.intervals == ()
    assert (transferred.text, transferred.source) == ("the cat", "ct2:transferred")
    for item, utterance in zip(
        (forced, recognised, transferred), (batch[0], batch[1], batch[3]), strict=True
    ):
        edges = [edge for word in item.intervals for edge in (word.start, word.end)]
        assert edges == sorted(edges) and all(0 <= edge <= utterance.clip.seconds for edge in edges)
    with pytest.raises(CodecError, match="Whisper knows no language 'xx'"):
        ctranslate_timer.align([Utterance(Clip("a.wav", 1.0, language="xx", text="a"), torch.zeros(16_000))])


def test_ctranslate_word_times_are_those_of_their_first_tokens(ctranslate_timer, monkeypatch):
    # Bytes are tokens: " cat" is 4 of them, " on" 3. Whisper's frames are 20 ms.
    alignment = [(0, 0), (0, 5), (1, 10), (3, 20), (4, 25), (4, 30), (5, 40), (6, 50)]
    result = SimpleNamespace(alignments=alignment, text_token_probs=[0.5, 0.7])
    stub = SimpleNamespace(encode=lambda mel: mel, align=lambda *args, **kwargs: [result])
    monkeypatch.setattr(ctranslate_timer, "_model", SimpleNamespace(model=stub))
    (found,) = ctranslate_timer.align([noise("cat on")])
    assert [(word.label, word.start, word.end) for word in found.intervals] == [
        ("cat", 0.0, 0.5),
        ("on", 0.5, 1.5),
    ]
    assert found.score == pytest.approx(0.6)


@pytest.fixture
def corpus(tmp_path):
    """Three good clips (one without text), one with NaN, one that is no audio file."""
    clips = []
    for i, (seconds, text) in enumerate([(0.8, "the cat"), (1.1, "dog ran far"), (0.7, None)]):
        soundfile.write(tmp_path / f"{i}.wav", make_speech(seconds, seed=i), 16_000)
        clips.append(Clip(f"{i}.wav", seconds, text=text, language="en"))
    soundfile.write(tmp_path / "nan.wav", np.full(16_000, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "text.wav").write_text("not a sound")
    clips += [Clip("nan.wav", 1.0, text="the cat"), Clip("text.wav", 1.0, text="the cat")]
    write_manifest(tmp_path / "m.jsonl", clips)
    return tmp_path / "m.jsonl"


def extract(models, corpus, *overrides):
    arguments = [
        f"manifest={corpus}",
        f"cache={corpus.parent / 'cache'}",
        f"teachers.sm={{type: speech, model: {models['group']}}}",
        f"teachers.lm={{type: language, model: {models['bert']}}}",
        f"words={{type: ctc, model: {models['ctc']}}}",
        *overrides,
    ]
    return extract_features(arguments)


def test_an_extraction_lists_bad_files_and_goes_on_where_it_was(models, corpus, capsys):
    cache = corpus.parent / "cache"
    assert extract(models, corpus, "limit=2") in (0, 1)
    capsys.readouterr()
    assert extract(models, corpus) == 1
    shown = capsys.readouterr().err
    assert "nan.wav: holds NaN" in shown and "text.wav: " in shown
    names = {"0.safetensors", "1.safetensors", "2.safetensors"}
    assert {path.name for path in (cache / "sm").iterdir()} == names
    assert {path.name for path in (cache / "lm").iterdir()} == names
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")}
    words = (cache / "words" / "ctc-ctc.jsonl").read_text()
    assert {json.loads(line)["clip"] for line in words.splitlines()} == {"0", "1", "2"}
    assert extract(models, corpus) == 1
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.safetensors")} == written
    assert (cache / "words" / "ctc-ctc.jsonl").read_text() == words
    tensors = load_file(cache / "lm" / "1.safetensors")
    assert (
        tensors["mask"].shape == tensors["index"].shape == (55,)
        and tensors["features"].dtype == torch.float16
    )


def test_another_teacher_does_not_mix_into_a_cache(models, corpus, capsys):
    extract(models, corpus)
    assert extract(models, corpus, "teachers.sm.layer=last") == 1
    shown = capsys.readouterr().err
    assert "error: " in shown and "layer='avg'" in shown and "layer='last'" in shown


def test_language_teacher_without_words_is_an_error_before_work(models, corpus, capsys):
    assert extract(models, corpus, "words=null") == 1
    assert "5 clips need word timestamps or a text" in capsys.readouterr().err
    assert not (corpus.parent / "cache").exists()
    assert extract(models, corpus, "words=null", "teachers.lm.mode=cls") == 1
    assert "2.wav: 1 clips need word timestamps or a text" in capsys.readouterr().err


def test_features_on_the_fly_equal_the_extracted_ones(models, corpus, tmp_path):
    extract(models, corpus)
    clips = [Clip(f"{i}.wav", seconds, root=str(corpus.parent)) for i, seconds in ((0, 0.8), (1, 1.1))]
    words = AlignmentStore(corpus.parent / "cache" / "words" / "ctc-ctc.jsonl", "words").read()
    for name, options in (
        ("sm", {"type": "speech", "model": models["group"]}),
        ("lm", {"type": "language", "model": models["bert"]}),
    ):
        teacher = build_teacher(name, options)
        live = LiveFeatures(FeatureCache(tmp_path / "live", name), teacher, words)
        assert live.check(clips, ExpectedFeatures(layer="avg")) == teacher.info
        for clip in clips:
            extracted = FeatureCache(corpus.parent / "cache", name).read(clip)
            assert torch.allclose(live.read(clip).features, extracted.features, atol=2e-3)
            assert torch.equal(live.read(clip).mask, extracted.mask)
    with pytest.raises(CodecError, match="2 clips have no timed words"):
        LiveFeatures(FeatureCache(tmp_path / "live", "lm"), teacher).check(clips)
    with pytest.raises(CodecError, match="layer 'avg' instead of 'last'"):
        live.check(clips, ExpectedFeatures(layer="last"))


@pytest.mark.parametrize("name", ["features", "features_paper", "features_controls"])
def test_shipped_configs_name_only_known_keys(name):
    config = read_config(ExtractConfig, name)
    for teacher_name, options in config.teachers.items():
        values = {key: value for key, value in options.items() if key != "type"}
        assert from_dict(teacher_configs()[options["type"]], values, teacher_name).model
    assert config.words.model
