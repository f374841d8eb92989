"""Probes on codes whose meaning is known by construction."""

import json

import numpy as np
import pytest
import soundfile
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

pytest.importorskip("sklearn")
pytest.importorskip("jiwer")

from codec.align.types import Interval
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes import TokenTable, probe_names, probe_tokens, run_probes, to_markdown
from codec.eval.probes import phone_labels as phone_labels_module
from codec.eval.probes.ctc import BothWays, CtcConfig, TokenRecognizer, reversal
from codec.eval.probes.fewshot import draw_clips
from codec.eval.probes.types import CodedClip

PHONES = ["SIL", "AH", "T", "S", "IY"]
FRAMES = 120


def make_clips(speakers=4, each=4, **values):
    return [
        Clip(f"s{speaker}/c{i}.wav", FRAMES / 50, speaker=f"s{speaker}", text="hello", **values)
        for speaker in range(speakers)
        for i in range(each)
    ]


@pytest.fixture
def aligned(monkeypatch):
    """Clips with phones of 60 ms in random order, and no need to align them."""
    rng = np.random.default_rng(0)
    clips = make_clips()
    phones = {clip.name: np.repeat(rng.integers(len(PHONES), size=FRAMES // 3), 3) for clip in clips}
    alignments = {
        name: [Interval(PHONES[phone], 2 * i / 100, (2 * i + 2) / 100) for i, phone in enumerate(values)]
        for name, values in phones.items()
    }
    monkeypatch.setattr(
        phone_labels_module,
        "align_clips",
        lambda asked, cache, skipped: {clip.name: alignments[clip.name] for clip in asked},
    )
    monkeypatch.setattr("codec.eval.probes.phone.check_aligner", lambda: None)
    return clips, phones


def probe(tokens, clips, which, out, train=None, **options):
    return probe_tokens(tokens, clips, train, [which], 0, out, {which: options})[which]


def test_codes_that_are_phones_are_read_perfectly(aligned, tmp_path):
    clips, phones = aligned
    codes = {name: torch.from_numpy(values)[None] for name, values in phones.items()}
    result = probe(TokenTable(codes, 50, codebooks=torch.eye(5)[None]), clips, "phone", tmp_path)
    for features in ("one-hot", "vectors"):
        assert result.measure("phone_accuracy", features=features).value == 1.0
    assert result.measure("phone_accuracy_speech").value == 1.0
    assert result.measure("pnmi").value == pytest.approx(1.0)
    assert result.measure("pnmi_speech").value == pytest.approx(1.0)
    assert result.measure("pnmi").baseline < 0.05
    assert result.measure("pnmi").unit == "speaker" and result.measure("pnmi").units == 4


def test_codes_without_information_stay_at_the_baseline(aligned, tmp_path):
    clips, phones = aligned
    rng = np.random.default_rng(1)
    # Codes that last, as phones do: single-frame shuffling would underrate their bias.
    codes = {
        name: torch.from_numpy(np.repeat(rng.integers(50, size=FRAMES // 4), 4))[None] for name in phones
    }
    result = probe(TokenTable(codes, 50), clips, "phone", tmp_path)
    pnmi = result.measure("pnmi")
    assert pnmi.value == pytest.approx(pnmi.baseline, abs=0.02)
    assert pnmi.value > 0.05
    accuracy = result.measure("phone_accuracy")
    assert accuracy.value == pytest.approx(accuracy.baseline, abs=0.05)


def test_information_in_later_layers_is_found_there_only(aligned, tmp_path):
    clips, phones = aligned
    codes = {
        name: torch.stack([torch.zeros(FRAMES, dtype=torch.long), torch.from_numpy(values)])
        for name, values in phones.items()
    }
    result = probe(TokenTable(codes, 50), clips, "phone", tmp_path)
    assert result.measure("pnmi").value == 0.0
    assert result.measure("phone_accuracy").value == result.measure("phone_accuracy").baseline
    assert result.measure("phone_accuracy", "1-2").value == 1.0


def test_training_clips_of_tested_speakers_are_not_used(aligned, tmp_path):
    clips, phones = aligned
    codes = {name: torch.from_numpy(values)[None] for name, values in phones.items()}
    result = probe(TokenTable(codes, 50), clips[:8], "phone", tmp_path, train=clips)
    assert any("trained on 8 training clips" in note for note in result.notes)
    assert result.measure("phone_accuracy").value == 1.0


def test_speaker_probe_sees_speakers_where_they_are(tmp_path):
    clips = make_clips(speakers=3, each=5)
    rng = np.random.default_rng(0)
    codes = {}
    for clip in clips:
        blind = rng.integers(20, size=200)
        telling = rng.integers(5, size=200) + 5 * int(clip.speaker[1:])
        codes[clip.name] = torch.from_numpy(np.stack([blind, telling]))
    result = probe(TokenTable(codes, 50), clips, "speaker", tmp_path)
    assert result.measure("speaker_accuracy", "1-2").value == 1.0
    first = result.measure("speaker_accuracy", "1")
    assert first.value < 0.7
    assert first.baseline == pytest.approx(1 / 3)
    # The first layer should not give the voice away, and all of them may.
    assert first.better == "lower" and result.measure("speaker_accuracy", "1-2").better == "neither"
    kept = probe(TokenTable(codes, 50), clips, "speaker", tmp_path, good="high")
    assert {measure.better for measure in kept.measures} == {"higher"}
    assert [measure.value for measure in kept.measures] == [measure.value for measure in result.measures]


def test_speaker_probe_lists_clips_that_it_cannot_use(tmp_path):
    clips = make_clips(speakers=2, each=3)
    clips += [Clip("x.wav", 1.0), Clip("lone.wav", 1.0, speaker="lone"), Clip("gone.wav", 1.0, speaker="s0")]
    codes = {clip.name: torch.ones(1, 9, dtype=torch.long) for clip in clips if clip.name != "gone"}
    result = probe(TokenTable(codes, 50), clips, "speaker", tmp_path)
    assert {skip.clip: skip.reason for skip in result.skipped} == {
        "x": "no speaker",
        "lone": "the only clip of its speaker",
        "gone": "no tokens given",
    }
    assert "1 clip skipped: no speaker" in to_markdown({"speaker": result})


def label_data(informative, seed=0):
    rng = np.random.default_rng(seed)
    clips, codes = [], {}
    for i in range(36):
        label = ["calm", "angry", "sad"][i % 3]
        clips.append(Clip(f"{i}.wav", 2.0, speaker=f"s{i // 6}", label=label))
        shift = 4 * (i % 3) if informative else 0
        codes[str(i)] = torch.from_numpy(rng.integers(4, size=(1, 100)) + shift)
    return clips, TokenTable(codes, 50, codebook_size=12)


@pytest.mark.parametrize("split", ["clip", "speaker"])
def test_few_shots_suffice_for_labels_that_codes_spell(split, tmp_path):
    clips, tokens = label_data(informative=True)
    result = probe(tokens, clips, "fewshot", tmp_path, shots=[1, 3], draws=5, split=split)
    assert result.measure("balanced_accuracy_1_shot").value == 1.0
    assert result.measure("balanced_accuracy_3_shot").value == 1.0
    assert result.measure("balanced_accuracy_1_shot").baseline == pytest.approx(1 / 3)


def test_few_shots_of_independent_codes_are_at_chance(tmp_path):
    clips, tokens = label_data(informative=False)
    measure = probe(tokens, clips, "fewshot", tmp_path, shots=[3], draws=20).measure(
        "balanced_accuracy_3_shot"
    )
    assert measure.low <= 1 / 3 <= measure.high


@pytest.mark.parametrize("split", ["clip", "speaker"])
def test_draws_are_stratified_and_disjoint(split):
    clips = [CodedClip(clip, torch.zeros(1, 1)) for clip in label_data(True)[0]]
    draws = draw_clips(clips, 2, 6, split, seed=0)
    assert len(draws) == 6
    for draw in draws:
        labels = [clips[i].clip.label for i in draw.train]
        assert {label: labels.count(label) for label in labels} == {"calm": 2, "angry": 2, "sad": 2}
        assert not set(draw.train) & set(draw.test)
        if split == "speaker":
            assert not {clips[i].speaker for i in draw.train} & {clips[i].speaker for i in draw.test}
    assert len({tuple(draw.train) for draw in draws}) > 1
    again = draw_clips(clips, 2, 3, split, seed=0)
    assert all(np.array_equal(a.train, b.train) for a, b in zip(again, draws, strict=False))


def spelled(clips, texts, rng):
    """Codes that spell each text: code = letter, three frames each, code 27 between letters."""
    codes = {}
    for clip, text in zip(clips, texts, strict=True):
        letters = [ord(c) - 96 if c != " " else 0 for c in text]
        codes[clip.name] = torch.tensor([[code for letter in letters for code in (letter, letter, 27)]])
    return codes


def test_text_is_read_from_codes_that_spell_it_and_not_from_shuffled_ones(tmp_path):
    rng = np.random.default_rng(0)
    texts = [" ".join("".join(rng.choice(list("abcde"), 3)) for _ in range(3)) for _ in range(60)]
    clips = [Clip(f"{i}.wav", 1.0, speaker="train", text=text) for i, text in enumerate(texts[:50])]
    test = [Clip(f"t{i}.wav", 1.0, speaker=f"s{i % 2}", text=text) for i, text in enumerate(texts[50:])]
    tokens = TokenTable(spelled(clips + test, texts, rng), 50, codebook_size=28)
    budget = {"steps": 100, "hidden": 16, "layers": 1, "batch_size": 8, "learning_rate": 0.02}
    result = probe(tokens, test, "text", tmp_path / "a", train=clips, recognizer=budget)
    assert result.measure("cer").value < 0.05
    assert result.measure("cer").baseline > 0.4
    assert result.measure("wer").value < 0.2
    assert result.per_clip["t0"]["text"] == texts[50]
    again = probe(tokens, test, "text", tmp_path / "b", train=clips, recognizer=budget)
    assert again == result


def test_recogniser_reads_both_ways_as_lstms_of_packed_clips_do():
    lengths = torch.tensor([7, 3, 5])
    frames = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0))
    both, expected = BothWays(4, 6), torch.nn.LSTM(4, 6, batch_first=True, bidirectional=True)
    for name, weight in both.forwards.named_parameters():
        getattr(expected, name).data.copy_(weight)
        getattr(expected, f"{name}_reverse").data.copy_(both.backwards.get_parameter(name))
    packed = pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(expected(packed)[0], batch_first=True)
    found = both(frames, reversal(lengths, 7))
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], wanted[row, :length])


def test_recogniser_reads_a_clip_of_a_batch_as_it_reads_it_alone():
    recognizer = TokenRecognizer(CtcConfig(hidden=8), "abc", 2, 28, frame_rate=25).eval()
    codes = torch.randint(28, (3, 2, 9), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([9, 4, 1])
    together = recognizer(codes, lengths)
    for row, length in enumerate(lengths):
        alone = recognizer(codes[row : row + 1, :, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row : row + 1, : 2 * length], alone)


def test_text_probe_needs_other_speakers(tmp_path):
    clips = make_clips()
    tokens = TokenTable({clip.name: torch.ones(1, 9) for clip in clips}, 50)
    with pytest.raises(CodecError, match="speakers not tested"):
        probe(tokens, clips, "text", tmp_path, train=clips)


@pytest.mark.parametrize(
    ("which", "clips", "message"),
    [
        ("speaker", [Clip("a.wav", 1.0, speaker="a")] * 3, "two speakers"),
        ("fewshot", [Clip("a.wav", 1.0)], "two classes"),
        ("fewshot", [Clip("a.wav", 1.0, label=label) for label in "xxxxxxy"], "'y' has 1 clips"),
        ("text", [Clip("a.wav", 1.0)], "clips with text"),
        ("phone", [Clip("a.wav", 1.0, text="guten tag", language="de")] * 3, "English text"),
        ("phones", [Clip("a.wav", 1.0)], "did you mean 'phone'"),
    ],
)
def test_clips_that_cannot_serve_are_refused_before_any_work(which, clips, message, tmp_path):
    tokens = TokenTable({"a": torch.ones(1, 9)}, 50)
    with pytest.raises(CodecError, match=message):
        probe_tokens(tokens, clips, None, [which], 0, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unknown_options_are_refused(tmp_path):
    tokens = TokenTable({"a": torch.ones(1, 9)}, 50)
    with pytest.raises(CodecError, match="unknown key"):
        probe(tokens, make_clips(), "speaker", tmp_path, fold=3)


@pytest.mark.parametrize(
    "codes",
    [{}, {"a": torch.ones(9)}, {"a": torch.ones(1, 9), "b": torch.ones(2, 9)}, {"a": -torch.ones(1, 9)}],
)
def test_tables_of_bad_codes_are_refused(codes):
    with pytest.raises(CodecError):
        TokenTable(codes, 50)


def test_results_are_kept_until_something_changes(tmp_path, monkeypatch):
    clips, tokens = label_data(informative=True)
    first = probe(tokens, clips, "fewshot", tmp_path, draws=3)
    monkeypatch.setattr(
        "codec.eval.probes.fewshot.FewShotProbe.run", lambda self, task: pytest.fail("done already")
    )
    assert probe(tokens, clips, "fewshot", tmp_path, draws=3) == first
    with pytest.raises(pytest.fail.Exception):
        probe(tokens, clips, "fewshot", tmp_path, draws=4)


def test_a_model_is_probed_and_unreadable_clips_are_listed(tiny_model, tmp_path):
    rng = np.random.default_rng(0)
    clips = []
    for i in range(6):
        soundfile.write(tmp_path / f"{i}.wav", 0.1 * rng.standard_normal(4000), 16_000)
        clips.append(Clip(f"{i}.wav", 0.25, speaker=f"s{i % 2}", root=str(tmp_path)))
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    clips.append(Clip("bad.wav", 1.0, speaker="s0", root=str(tmp_path)))
    result = run_probes(tiny_model, clips, None, ["speaker"], 0, tmp_path / "out")["speaker"]
    assert [skip.clip for skip in result.skipped] == ["bad"]
    assert {m.features for m in result.measures} == {"one-hot", "vectors"}
    assert json.loads((tmp_path / "out/speaker.json").read_text())["result"]["probe"] == "speaker"


def test_all_probes_are_found():
    assert set(probe_names()) >= {"phone", "text", "speaker", "fewshot"}
