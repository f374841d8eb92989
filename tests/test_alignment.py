"""Words on frames: CTC alignment, times carried over to a known text, and states spread over frames."""

import itertools
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_teachers import LETTERS, save_ctc

from codec.align.ctc import Span, Vocabulary, force_align, greedy_spans
from codec.align.registry import aligner, aligner_configs, build_aligner, read_words_config
from codec.align.store import AlignmentStore
from codec.align.transcript import fill_gaps, share, tighten, transfer_times
from codec.align.types import Alignment, Interval, Utterance
from codec.config import to_dict
from codec.data import Clip
from codec.errors import CodecError
from codec.teachers.language import choose_donors
from codec.teachers.spread import spread_words

BLANK = 0


def collapse(path) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**31),
    frames=st.integers(1, 6),
    labels=st.lists(st.integers(1, 2), min_size=0, max_size=4),
)
def test_forced_alignment_is_the_best_of_all_paths(seed, frames, labels):
    log_probs = np.log(np.random.default_rng(seed).dirichlet(np.ones(3), size=frames))
    scores = [
        sum(log_probs[t, label] for t, label in enumerate(path))
        for path in itertools.product(range(3), repeat=frames)
        if collapse(path) == labels
    ]
    if not scores:
        with pytest.raises(CodecError, match="cannot hold"):
            force_align(log_probs, labels, BLANK)
        return
    found = force_align(log_probs, labels, BLANK)
    path = np.full(frames, BLANK)
    for span in found.spans:
        path[span.first : span.last] = span.label
    assert found.log_probability == pytest.approx(max(scores))
    assert [span.label for span in found.spans] == labels and collapse(path) == labels
    assert sum(log_probs[np.arange(frames), path]) == pytest.approx(max(scores))


def test_greedy_spans_merge_repeats_and_drop_blanks():
    best = [0, 3, 3, 0, 3, 5, 5, 0]
    log_probs = np.log(np.eye(6)[best] * 0.9 + 0.01)
    assert greedy_spans(log_probs, BLANK) == [Span(3, 1, 3), Span(3, 4, 5), Span(5, 5, 7)]


def test_vocabulary_spells_in_its_own_case():
    vocabulary = Vocabulary({"<pad>": 0, "|": 1, "C": 2, "A": 3, "T": 4}, 0, 1)
    assert vocabulary.spell("cat.") == [2, 3, 4]
    assert vocabulary.spell("99|") == []


@pytest.fixture(scope="module")
def ctc_timer(tmp_path_factory):
    return build_aligner(
        read_words_config({"type": "ctc", "model": save_ctc(tmp_path_factory.mktemp("ctc"))})
    )


def logits_for(timer, labels: str) -> torch.Tensor:
    """Frames that say one character each; ``_`` is the blank."""
    ids = [timer.vocabulary.ids["<pad>" if c == "_" else c] for c in labels]
    return torch.nn.functional.one_hot(torch.tensor(ids), 32).float() * 8


def with_frames(timer, labels: str, monkeypatch):
    encoder = SimpleNamespace(encode=lambda wavs: [logits_for(timer, labels)], rate=50.0, offset=0.0125)
    monkeypatch.setattr(timer, "_encoder", encoder)


def spoken(timer, text):
    clip = Clip(path="x.wav", seconds=0.3, text=text)
    return timer.align([Utterance(clip, torch.zeros(4800))])[0]


def test_greedy_words_and_times(ctc_timer, monkeypatch):
    with_frames(ctc_timer, "__caat__|_on_", monkeypatch)
    found = spoken(ctc_timer, None)
    assert [word.label for word in found.intervals] == ["cat", "on"]
    times = [(word.start, word.end) for word in found.intervals]
    assert times == [pytest.approx((0.0425, 0.1225)), pytest.approx((0.2025, 0.2425))]
    assert found.source.endswith(":greedy")


def test_known_text_is_forced_on_frames_that_say_something_else(ctc_timer, monkeypatch):
    with_frames(ctc_timer, "__cut__|_on_", monkeypatch)
    found = spoken(ctc_timer, "Cat -- ON.")
    assert [word.label for word in found.intervals] == ["Cat", "--", "ON."]
    assert (found.intervals[0].start, found.intervals[0].end) == pytest.approx((0.0425, 0.1025))
    assert (found.intervals[2].start, found.intervals[2].end) == pytest.approx((0.1825, 0.2225))
    assert (
        found.intervals[0].end
        <= found.intervals[1].start
        <= found.intervals[1].end
        <= found.intervals[2].start
    )
    assert found.source.endswith(":forced")


def test_a_ctc_model_times_a_batch_as_it_times_each_clip(ctc_timer):
    torch.manual_seed(0)
    batch = [
        Utterance(Clip(path=f"{i}.wav", seconds=n / 16_000, text=text), torch.randn(n))
        for i, (n, text) in enumerate([(9_000, "a cat"), (16_000, "the dog ran far"), (4_000, None)])
    ]
    together = ctc_timer.align(batch)
    assert [ctc_timer.align([utterance])[0].intervals for utterance in batch] == [
        item.intervals for item in together
    ]
    for utterance, item in zip(batch[:2], together, strict=False):
        assert item.text == utterance.clip.text
        edges = [edge for word in item.intervals for edge in (word.start, word.end)]
        assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= utterance.clip.seconds


def test_text_that_no_audio_can_hold_is_refused(ctc_timer):
    long = Utterance(Clip(path="x.wav", seconds=0.1, text="cat " * 30), torch.randn(1600))
    with pytest.raises(CodecError, match="frames cannot hold 119 labels"):
        ctc_timer.align([long])
    with pytest.raises(CodecError, match="knows no character of"):
        ctc_timer.check_text("Привет")


def test_known_words_take_the_times_of_the_recognised():
    heard = [
        Interval("the", 0.1, 0.2),
        Interval("cad", 0.2, 0.5),
        Interval("sat,", 0.6, 0.9),
        Interval("mat", 1.2, 1.5),
    ]
    found = transfer_times("The cat sat on mat!", heard, 2.0)
    assert found == [
        Interval("The", 0.1, 0.2),
        Interval("cat", 0.2, 0.5),
        Interval("sat", 0.6, 0.9),
        Interval("on", 0.9, 1.2),
        Interval("mat!", 1.2, 1.5),
    ]


def test_a_text_of_which_nothing_was_heard_fills_the_clip():
    assert transfer_times("ab abcd", [], 3.0) == [Interval("ab", 0.0, 1.0), Interval("abcd", 1.0, 3.0)]


WORD = st.text(LETTERS[:4], min_size=1, max_size=5)


@settings(deadline=None, max_examples=60)
@given(st.lists(WORD, max_size=12), st.lists(WORD, max_size=12))
def test_transferred_words_are_the_text_in_order_of_time(known, heard):
    timed = [Interval(word, i * 0.5, i * 0.5 + 0.4) for i, word in enumerate(heard)]
    found = transfer_times(" ".join(known), timed, 6.0)
    assert [word.label for word in found] == known
    edges = [edge for word in found for edge in (word.start, word.end)]
    assert edges == sorted(edges) and all(0 <= edge <= 6.0 for edge in edges)


def test_gaps_are_shared_by_length():
    assert share(["a", "bbb"], 1.0, 2.0) == [Interval("a", 1.0, 1.25), Interval("bbb", 1.25, 2.0)]
    filled = fill_gaps(["x", "y", "z"], [None, (1.0, 2.0), None], 3.0)
    assert [(word.start, word.end) for word in filled] == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0)]


def test_silence_is_taken_off_the_edges_of_words():
    wav = torch.zeros(16_000)
    wav[4_000:6_400] = torch.randn(2_400)
    wav[8_000:12_000] = torch.randn(4_000)
    found = tighten(
        [Interval("a", 0.0, 0.45), Interval("b", 0.45, 1.0), Interval("c", 0.9, 1.0)], wav, 16_000
    )
    assert [(word.start, word.end) for word in found] == [
        pytest.approx((0.25, 0.4)),
        pytest.approx((0.5, 0.75)),
        (0.9, 1.0),
    ]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=8))
def test_edges_stay_in_order_where_models_reach_one_time_by_different_sums(milliseconds):
    lengths = [count / 1000 for count in milliseconds]
    edges = np.cumsum([0.0, *lengths])
    words = [
        Interval("a", float(edges[-1] - sum(lengths[i:])) if i else 0.0, float(edges[i] + length))
        for i, length in enumerate(lengths)
    ]
    wav = torch.ones(16 * (round(1000 * float(edges[-1])) + 100))
    found = [edge for word in tighten(words, wav, 16_000) for edge in (word.start, word.end)]
    assert found == sorted(found)


def test_a_sum_of_floats_does_not_push_a_word_over_the_next_one():
    before, after = Interval("a", 0.0, 0.7000000000000001), Interval("b", 0.6999999999999998, 1.38)
    assert before.end == after.start == 0.7


def test_frames_of_a_word_are_shared_by_its_sub_words():
    words = [Interval("cats", 0.04, 0.14), Interval("sat", 0.2, 0.24)]
    frames = spread_words(words, [range(2), range(2, 3)], 15, 50.0, 0.01)
    assert frames.mask.tolist() == [False] * 2 + [True] * 5 + [False] * 3 + [True] * 2 + [False] * 3
    assert frames.index[frames.mask].tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_a_very_short_word_gets_the_nearest_free_frame():
    frames = spread_words(
        [Interval("a", 0.041, 0.045), Interval("b", 0.045, 0.046)], [range(1), range(1, 2)], 5, 50.0, 0.01
    )
    assert frames.mask.tolist() == [False, False, True, False, False] and frames.index[2] == 0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 0.3), st.floats(0, 0.5), st.integers(0, 4)), max_size=8))
def test_rows_never_fall_and_only_spoken_frames_count(pieces):
    words, rows, time, row = [], [], 0.0, 0
    for pause, length, count in pieces:
        words.append(Interval("w", time + pause, time + pause + length))
        rows.append(range(row, row + count))
        time, row = time + pause + length, row + count
    frames = spread_words(words, rows, 100, 50.0, 0.01)
    assert bool((frames.index.diff() >= 0).all()) and int(frames.index.max()) <= max(row - 1, 0)
    for frame in torch.nonzero(frames.mask)[:, 0].tolist():
        centre = 0.01 + frame / 50
        assert any(w.start - 0.011 <= centre <= w.end + 0.011 for w, r in zip(words, rows, strict=True) if r)


def test_a_store_drops_a_torn_line_and_refuses_a_damaged_one(tmp_path):
    store = AlignmentStore(tmp_path / "words" / "x.jsonl", "words")
    first = Alignment("a/x", (Interval("hé", 0.125, 0.5),), "m:forced", 0.25)
    second = Alignment("a/y", (), "m:greedy")
    assert store.read() == {}
    store.append([first])
    with store.path.open("ab") as file:
        file.write('{"clip": "a/zé'.encode()[:-1])
    assert store.read() == {"a/x": first}
    store.append([second])
    assert store.read() == {"a/x": first, "a/y": second}
    assert store.path.read_bytes().endswith(b"\n") and len(store.path.read_bytes().splitlines()) == 2
    store.path.write_text("nonsense\n" + store.path.read_text())
    with pytest.raises(CodecError, match=r"x\.jsonl:1: no timed words"):
        store.read()


SECONDS = st.integers(0, 100_000).map(lambda milliseconds: milliseconds / 1000)
ALIGNMENTS = st.builds(
    Alignment,
    clip=st.text(min_size=1),
    intervals=st.lists(st.builds(Interval, st.none() | st.text(), SECONDS, SECONDS)).map(tuple),
    source=st.text(),
    score=st.none() | st.sampled_from([0.0, 0.25, 1.0]),
    key=st.none() | st.text(min_size=1),
) | st.builds(
    Alignment,
    clip=st.text(min_size=1),
    intervals=st.just(()),
    error=st.text(),
    key=st.none() | st.text(min_size=1),
)


@settings(deadline=None, max_examples=60)
@given(st.lists(ALIGNMENTS, max_size=4), st.sampled_from(["words", "phones"]), st.integers(0, 60))
def test_what_a_store_is_given_is_read_from_it_wherever_a_run_was_cut_off(items, unit, cut):
    with tempfile.TemporaryDirectory() as folder:
        store = AlignmentStore(f"{folder}/x.jsonl", unit)
        store.append(items)
        whole = store.read()
        assert whole == {item.key or item.clip: item for item in items}
        lost = Alignment("lost", (Interval("ß" * 30, 0.0, 1.0),), "m", key="lost")
        with store.path.open("ab") as file:
            file.write(lost.to_json(unit).encode()[:cut])
        assert store.read() == whole
        store.append([lost])
        assert store.read() == whole | {"lost": lost}


def test_files_of_words_and_of_phones_in_frames_are_read_as_they_were_written_before(tmp_path):
    words = AlignmentStore(tmp_path / "words.jsonl", "words")
    line = '{"clip": "a/x", "words": [["hé", 0.125, 0.5], ["b", 0.5, 1.07]], "source": "m:forced", "score": 0.25}\n'
    words.path.write_text(line, encoding="utf-8")
    (found,) = words.read().values()
    assert found == Alignment("a/x", (Interval("hé", 0.125, 0.5), Interval("b", 0.5, 1.07)), "m:forced", 0.25)
    assert found.to_json("words") + "\n" == line
    phones = AlignmentStore(tmp_path / "phones.jsonl", "phones")
    phones.path.write_text(
        '{"key": "f00d", "clip": "a/x", "segments": [["SIL", 0, 7], [null, 7, 29]]}\n'
        '{"key": "beef", "clip": "b", "error": "the aligner crashed"}\n'
    )
    assert phones.read() == {
        "f00d": Alignment("a/x", (Interval("SIL", 0.0, 0.07), Interval(None, 0.07, 0.29)), key="f00d"),
        "beef": Alignment("b", (), error="the aligner crashed", key="beef"),
    }
    with pytest.raises(CodecError, match="no timed words"):
        AlignmentStore(phones.path, "words").read()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"type": "whisper", "modle": "x"}, "config words: unknown key 'modle'; did you mean 'model'"),
        ({"type": "ctc", "compute_type": "int8"}, "config words: unknown key 'compute_type'"),
        ({"type": "wisper"}, "config words.type: unknown aligner 'wisper'; did you mean 'whisper'"),
        (
            {"type": "pocketsphinx"},
            "pocketsphinx gives phones, not words; expected one of ctc, faster_whisper, whisper",
        ),
        ({"type": ["ctc"]}, "unknown aligner"),
        ("ctc", "expected a mapping"),
        ({"max_seconds": "long"}, "words.max_seconds"),
    ],
)
def test_wrong_settings_of_words_are_one_line(values, message):
    with pytest.raises(CodecError, match=message):
        read_words_config(values)


def test_settings_of_words_mean_what_they_meant():
    config = read_words_config({"model": "facebook/wav2vec2-base-960h"})
    assert (config.type, config.max_seconds, config.device) == ("ctc", 30.0, "cpu")
    assert config.name == "ctc-facebook--wav2vec2-base-960h"
    config = read_words_config(
        {"type": "faster_whisper", "model": "a/b", "language": "de", "compute_type": "int8"}
    )
    assert (config.language, config.compute_type, config.name) == ("de", "int8", "faster_whisper-a--b")
    assert read_words_config(to_dict(config)) == read_words_config(config) == config


def test_every_aligner_is_in_one_registry_with_options_of_its_own():
    assert set(aligner_configs("words")) == {"ctc", "whisper", "faster_whisper"}
    assert set(aligner_configs("phones")) == {"pocketsphinx"}
    for kind, config in (aligner_configs("words") | aligner_configs("phones")).items():
        assert config().type == kind
    with pytest.raises(CodecError, match="two aligner registrations are called 'ctc'"):
        aligner("ctc")(SimpleNamespace)


def test_donors_speak_the_same_language_and_say_something_else():
    texts = ["one", "one", "two", "three"]
    clips = [Clip(f"{i}.wav", 1.0, language="en", text=text) for i, text in enumerate(texts)]
    clips += [Clip(f"d{i}.wav", 1.0, language="de", text=text) for i, text in enumerate(["eins", "zwei"])]
    donors = choose_donors(clips, {}, seed=0)
    assert donors == choose_donors(clips[::-1], {}, seed=0)
    for clip in clips:
        assert donors[clip.name] != [clip.text]
        assert (donors[clip.name][0] in ("eins", "zwei")) == (clip.language == "de")
    with pytest.raises(CodecError, match="no other clip of language 'en' has another text"):
        choose_donors(clips[:2], {}, seed=0)
