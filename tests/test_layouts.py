"""Layouts: exact both ways, whole or id by id, and strict about what they read."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codec import CodecError, Tokens
from codec.tokens.layouts import (
    SPECIALS,
    AudioVocab,
    Bpe,
    Delay,
    layout_names,
    load_layout,
    make_layout,
    train_bpe,
)

FORMS = [
    ("flat", {}),
    ("flat", {"markers": True}),
    ("coarse_first", {}),
    ("coarse_first", {"markers": True}),
    ("parallel", {}),
    ("parallel", {"markers": True}),
    ("parallel", {"shared": False, "markers": True}),
    ("delay", {}),
    ("delay", {"shared": False}),
    ("delay", {"shared": False, "lead": 1, "after": "start"}),
    ("semantic_first", {}),
    ("semantic_first", {"markers": True}),
    ("text", {}),
    ("text", {"markers": True}),
    ("bpe", {"merges": [[0, 0], [2, 0], [1, 0]]}),
    ("bpe", {"merges": [[0, 1]], "markers": True}),
]


def vocab_of(sizes, base=0) -> AudioVocab:
    return AudioVocab("0123456789abcdef", 16_000, 320, tuple(sizes), base)


@st.composite
def clips(draw, max_frames=12):
    """A vocabulary of 1 to 8 codebooks of at least 3 codes, and a clip that holds code 0 and code V - 1."""
    layers = draw(st.integers(1, 8))
    sizes = draw(st.lists(st.integers(3, 5), min_size=layers, max_size=layers))
    frames = draw(st.integers(0, max_frames))
    code = [st.sampled_from([0, size - 1, *range(size)]) for size in sizes]
    rows = [draw(st.lists(code[q], min_size=frames, max_size=frames)) for q in range(layers)]
    return vocab_of(sizes, draw(st.sampled_from([0, 7, 128_256]))), torch.tensor(rows, dtype=torch.int64)


def stream(layout, ids) -> torch.Tensor:
    decoder = layout.decoder()
    if isinstance(ids, str):
        ids = layout.split(ids)
    elif hasattr(ids, "tolist"):
        ids = ids.tolist()
    frames = [frame for number in ids if (frame := decoder.decode_stream(number)) is not None]
    return torch.cat([torch.zeros(layout.num_codebooks, 0, dtype=torch.int64), *frames], dim=1)


def steps_of(layout, ids) -> list:
    return layout.split(ids) if isinstance(ids, str) else ids.tolist()


def joined(layout, steps):
    return "".join(steps) if layout.name == "text" else steps


@pytest.mark.parametrize(("name", "parameters"), FORMS, ids=str)
@settings(max_examples=25, deadline=None)
@given(clip=clips())
def test_decoding_is_the_inverse_of_encoding_whole_and_id_by_id(name, parameters, clip):
    vocab, codes = clip
    layout = make_layout(name, vocab, **parameters)
    ids = layout.encode(codes)
    assert torch.equal(layout.decode(ids), codes)
    assert torch.equal(stream(layout, ids), codes)
    if name != "text" and getattr(layout, "shared", True) and ids.numel():
        assert vocab.base <= int(ids.min()) and int(ids.max()) < vocab.base + layout.size


@pytest.mark.parametrize(("name", "parameters"), [*FORMS, ("delay", {"truncate": True})], ids=str)
@settings(max_examples=25, deadline=None)
@given(clip=clips(max_frames=6), data=st.data())
def test_a_sequence_that_is_cut_decodes_to_its_complete_frames(name, parameters, clip, data):
    vocab, codes = clip
    layout = make_layout(name, vocab, **parameters)
    steps = steps_of(layout, layout.encode(codes))
    cut = steps[: data.draw(st.integers(0, len(steps)))]
    decoded = layout.decode(joined(layout, cut))
    assert torch.equal(decoded, codes[:, : decoded.shape[1]])
    assert torch.equal(stream(layout, joined(layout, cut)) if cut else decoded, decoded)


@settings(max_examples=50, deadline=None)
@given(clip=clips())
def test_frames_come_as_soon_as_their_last_code_is_there(clip):
    vocab, codes = clip
    layers, frames = codes.shape
    for cut in range(layers * frames + 1):
        assert make_layout("flat", vocab).decode(make_layout("flat", vocab).encode(codes)[:cut]).shape[1] == cut // layers
    delay = make_layout("delay", vocab)
    for cut in range(frames + layers):
        assert delay.decode(delay.encode(codes)[:cut]).shape[1] == max(cut - layers + 1, 0)


@settings(max_examples=50, deadline=None)
@given(clip=clips(), data=st.data())
def test_truncation_loses_what_it_says_and_its_tail_has_the_rest(clip, data):
    vocab, codes = clip
    delays = data.draw(st.lists(st.integers(0, 5), min_size=len(codes), max_size=len(codes)))
    lead = data.draw(st.integers(0, 2))
    layout = make_layout("delay", vocab, truncate=True, delays=delays, lead=lead)
    ids = layout.encode(codes)
    assert len(ids) == codes.shape[1]
    assert layout.lost_frames == max(delays) + lead
    assert torch.equal(layout.decode(ids), codes[:, : max(codes.shape[1] - layout.lost_frames, 0)])
    assert torch.equal(layout.decode(torch.cat([ids, layout.tail(codes)])), codes)
    extending = make_layout("delay", vocab, delays=delays, lead=lead)
    assert torch.equal(extending.encode(codes), torch.cat([ids, layout.tail(codes)]))
    assert extending.lost_frames == 0


def test_the_formulas():
    vocab = vocab_of([10, 10, 10], base=100)
    codes = torch.tensor([[0, 1], [2, 3], [9, 0]])
    assert make_layout("flat", vocab).encode(codes).tolist() == [100, 112, 129, 101, 113, 120]
    assert make_layout("coarse_first", vocab).encode(codes).tolist() == [100, 101, 112, 113, 129, 120]
    assert make_layout("parallel", vocab).encode(codes).tolist() == [[100, 112, 129], [101, 113, 120]]
    start, end, _, sep = make_layout("flat", vocab).ids.specials.values()
    assert (start, end, sep) == (130, 131, 133)
    assert make_layout("semantic_first", vocab).encode(codes).tolist() == [100, 101, sep, 112, 129, 113, 120]
    assert make_layout("delay", vocab).encode(codes).tolist() == [
        [100, start, start],
        [101, 112, start],
        [end, 113, 129],
        [end, end, 120],
    ]
    assert make_layout("text", vocab).encode(codes[:, :1]) == "<|s0_0|><|s1_2|><|s2_9|>"


def test_the_delays_of_known_models():
    """MusicGen's step 0 is special alone and fills with V; Higgs Audio has V before and V + 1 after;
    Dia has a long first gap; Moshi truncates."""
    codes = torch.tensor([[1, 2, 3], [4, 5, 6]])
    vocab = vocab_of([8, 8])
    musicgen = make_layout("delay", vocab, shared=False, lead=1, after="start")
    assert musicgen.encode(codes).t().tolist() == [[8, 1, 2, 3, 8], [8, 8, 4, 5, 6]]
    higgs = make_layout("delay", vocab, shared=False)
    assert higgs.encode(codes).t().tolist() == [[1, 2, 3, 9], [8, 4, 5, 6]]
    dia = make_layout("delay", vocab, shared=False, delays=[0, 3], after="pad")
    assert dia.encode(codes).t().tolist() == [[1, 2, 3, 10, 10, 10], [8, 8, 8, 4, 5, 6]]
    moshi = make_layout("delay", vocab, shared=False, truncate=True)
    assert moshi.encode(codes).t().tolist() == [[1, 2, 3], [8, 4, 5]]


def test_code_0_in_every_slot_is_a_code():
    """A published streaming decoder takes only ids above 0, and reads all that follows in the wrong slots."""
    for name, parameters in FORMS:
        layout = make_layout(name, vocab_of([4, 4, 4]), **parameters)
        codes = torch.zeros(3, 5, dtype=torch.int64)
        assert torch.equal(stream(layout, layout.encode(codes)), codes)


@pytest.mark.parametrize("name", ["flat", "coarse_first", "semantic_first"])
def test_the_first_id_past_a_codebook_is_not_its_code(name):
    """The same decoder checks ``> 4096`` where ``>= 4096`` is meant."""
    layout = make_layout(name, vocab_of([4]))
    for ids in ([3, 6], [3, 8], [3, -1]):
        with pytest.raises(CodecError, match=rf"id {ids[1]} is (out of range|the special pad); codes have the ids 0\.\.3"):
            layout.decode(ids)
        with pytest.raises(CodecError, match=f"id {ids[1]} is"):
            stream(layout, ids)


def test_code_v_is_no_code():
    for name, parameters in FORMS:
        with pytest.raises(CodecError, match="code 4 of frame 1 is out of range; codes of codebook 1 lie in 0..3"):
            make_layout(name, vocab_of([4, 4]), **parameters).encode([[0, 3], [3, 4]])


def test_truncation_is_not_silent():
    """Moshi's delay keeps the length, and loses 1, 2, 3... frames of the later codebooks."""
    vocab = vocab_of([9] * 4)
    codes = torch.arange(6).repeat(4, 1)
    layout = make_layout("delay", vocab, truncate=True)
    assert isinstance(layout, Delay)
    kept = [(layout.encode(codes)[:, q] < layout.ids.specials["start"]).sum().item() for q in range(4)]
    assert kept == [6, 5, 4, 3]
    assert layout.lost_frames == 3
    assert layout.tail(codes).shape == (3, 4)


@pytest.mark.parametrize("shape", [(1, 2, 3), (1, 1, 2, 3), (3,)])
def test_codes_of_another_shape_are_refused(shape):
    """EnCodec's are (chunks, B, K, T), of which people take [0]."""
    with pytest.raises(CodecError, match=r"codes must be \(K, T\), got shape"):
        make_layout("flat", vocab_of([4, 4])).encode(torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize(
    ("name", "ids", "message"),
    [
        ("flat", [0, 4, 4], "position 2: a code of codebook 1, where one of 0 is due"),
        ("coarse_first", [0, 1, 4, 5, 0], "position 4: a code of codebook 0, where one of 2 is due"),
        ("coarse_first", [4], "position 0: a code of codebook 1, where one of 0 is due"),
        ("semantic_first", [0, 4], "position 1: a code of codebook 1, where one of 0 is due"),
        ("semantic_first", [0, 11, 4, 5], "2 ids after a semantic part of 1 frames, for 1 ids each"),
        ("semantic_first", [0, 11, 11], "id 11 is the special sep"),
        ("parallel", [[0, 4], [0, 0]], "id 0 is of codebook 0, in the stream of codebook 1"),
        ("parallel", [[0, 4, 1]], r"ids must be (steps, 2), got shape (1, 3)"),
        ("parallel", [0, 4], r"ids must be (steps, K), got shape (2,)"),
        ("delay", [[0, 4], [1, 4]], "step 0: id 4 of codebook 1, whose codes begin in step 1; expected 8 before"),
        ("flat", [[0], [4]], r"ids must be (N,), got shape (2, 1)"),
        ("flat", [0.5], "ids must be whole numbers"),
        ("flat", "0", "ids must be whole numbers"),
        ("text", "<|s0_0|> <|s1_0|>", "character 8: ' <|s1_0|>' is no token"),
        ("text", "<|s0_0|><|s1_4|>", "'<|s1_4|>' is no token of this vocabulary"),
        ("text", "<|s0_00|>", "'<|s0_00|>' is no token of this vocabulary"),
        ("text", [0], "expected a text such as <|s0_0|>, got list"),
    ],
    ids=str,
)
def test_ids_that_no_codes_have_are_refused(name, ids, message):
    layout = make_layout(name, vocab_of([4, 4]))
    with pytest.raises(CodecError) as caught:
        layout.decode(ids)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    if isinstance(ids, list):
        with pytest.raises(CodecError):
            stream(layout, ids)


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(-1, 13), max_size=12), name=st.sampled_from(["flat", "coarse_first", "semantic_first", "bpe"]))
def test_streams_and_whole_sequences_refuse_the_same(ids, name):
    layout = make_layout(name, vocab_of([4, 4]))

    def outcome(decode):
        try:
            return decode(layout, ids).tolist()
        except CodecError:
            return "refused"

    assert outcome(stream) == outcome(lambda layout, ids: layout.decode(ids))


def test_ids_that_may_follow_are_those_that_encoding_gives():
    codes = torch.tensor([[0, 3], [4, 1], [2, 2]])
    for markers in (False, True):
        layout = make_layout("flat", vocab_of([4, 5, 3], base=9), markers=markers)
        ids = layout.encode(codes).tolist()
        assert all(number in layout.allowed(ids[:i]) for i, number in enumerate(ids))
        assert layout.allowed(ids[: 1 + markers]) == list(range(13, 18))
    assert layout.ids.specials["end"] not in layout.allowed(ids[:2])
    assert layout.allowed(ids) == [layout.ids.specials["end"]]


def test_what_follows_the_end_is_not_read():
    layout = make_layout("flat", vocab_of([4, 4]), markers=True)
    ids = [*layout.encode([[1], [2]]).tolist(), 99_999]
    assert layout.decode(ids).tolist() == [[1], [2]]
    assert stream(layout, ids).tolist() == [[1], [2]]
    delay = make_layout("delay", vocab_of([4, 4]))
    steps = [*delay.encode([[1], [2]]).tolist(), [99_999, 0]]
    assert delay.decode(steps).tolist() == [[1], [2]]


def test_codes_of_every_integer_type_and_empty_clips():
    layout = make_layout("flat", vocab_of([4, 4]))
    for codes in (np.array([[1], [2]], np.uint16), torch.tensor([[1], [2]], dtype=torch.uint8), [[1], [2]]):
        assert layout.encode(codes).tolist() == [1, 6]
    assert layout.encode([[], []]).tolist() == []
    assert layout.decode([]).shape == (2, 0)


def test_tokens_of_another_codec_are_refused(tiny_model):
    tokens = tiny_model.encode(torch.randn(2, 1000) * 0.1)
    vocab = AudioVocab.of(tiny_model)
    layout = make_layout("flat", vocab)
    assert torch.equal(layout.decode(layout.encode(tokens[1])), tokens.codes[1])
    assert AudioVocab.of(tokens.first(3), base=5) == AudioVocab.of(tiny_model, base=5, num_codebooks=3)
    with pytest.raises(CodecError, match="a layout takes one clip, got 2"):
        layout.encode(tokens)
    with pytest.raises(CodecError, match=f"the vocabulary is of codec {tokens.fingerprint}, the tokens are of other"):
        layout.encode(Tokens(**{**vars(tokens[0]), "fingerprint": "other"}))
    with pytest.raises(CodecError, match="codes of 3 codebooks, the vocabulary has 8"):
        layout.encode(tokens[0].first(3))


@pytest.mark.parametrize(("name", "parameters"), FORMS, ids=str)
def test_a_vocabulary_comes_back_from_its_file(name, parameters, tmp_path):
    layout = make_layout(name, vocab_of([4, 5, 3], base=17), **parameters)
    layout.save(tmp_path)
    assert load_layout(tmp_path) == layout
    assert load_layout(tmp_path / "audio_vocab.json") == layout
    values = json.loads((tmp_path / "audio_vocab.json").read_text())
    assert values["fingerprint"] == "0123456789abcdef"
    assert values["codebook_sizes"] == [4, 5, 3]
    assert values["frame_rate"] == 50
    assert list(values["special_ids"]) == list(SPECIALS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2 of the vocabulary is unknown"),
        ({"format": "x"}, "no vocabulary of audio"),
        ({"layout": "flatt"}, "unknown layout 'flatt'; did you mean 'flat'?"),
        ({"parameters": {"marker": True}}, "unknown key 'marker'; did you mean 'markers'?"),
        ({"base": 1}, "layer_offsets, special_ids, size: does not fit"),
        ({"special_ids": {}}, "special_ids: does not fit the rest"),
        ({"codebook_sizes": [4, 0]}, "codebook_sizes must be whole numbers above 0"),
        ({"extra": 1}, "extra: does not fit the rest"),
        ({"base": -1}, "base must be a whole number, 0 or more, got -1"),
        ({"parameters": []}, "layout flat: parameters must be a mapping, got []"),
        ({"parameters": None}, "layout flat: parameters must be a mapping, got None"),
        ({"parameters": {"name": 1}}, "layout flat: unknown key 'name'"),
        ({"parameters": {"vocab": 1}}, "layout flat: unknown key 'vocab'"),
        ({"hop_length": 0}, "sample_rate and hop_length must be above 0, got 16000 and 0"),
    ],
    ids=str,
)
def test_a_damaged_vocabulary_is_refused(change, message, tmp_path):
    values = make_layout("flat", vocab_of([4, 4])).to_json() | change
    (tmp_path / "audio_vocab.json").write_text(json.dumps(values))
    with pytest.raises(CodecError) as caught:
        load_layout(tmp_path)
    text = str(caught.value)
    assert message in text or (change == {"base": 1} and "does not fit the rest" in text)


def test_a_vocabulary_that_is_not_there_or_no_json(tmp_path):
    with pytest.raises(CodecError, match="no such vocabulary"):
        load_layout(tmp_path)
    (tmp_path / "audio_vocab.json").write_bytes(b"\xff")
    with pytest.raises(CodecError, match="cannot be read as a vocabulary"):
        load_layout(tmp_path)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"delays": [0]}, "delays must be 2 whole numbers"),
        ({"delays": [0, -1]}, "delays must be 2 whole numbers"),
        ({"lead": -1}, "lead must be 0 or more"),
        ({"after": "stop"}, "stop: no special token; choose start, end, pad, sep"),
    ],
)
def test_delays_are_checked(parameters, message):
    with pytest.raises(CodecError, match=message):
        make_layout("delay", vocab_of([4, 4]), **parameters)


@pytest.mark.parametrize("pattern", ["<|{i}|>", "{q}{i}|", "a{q}_{i}", "a{q}0{i}>", "a{q}_{i}_{i}>", "a{q}_{i:3}>", "{"])
def test_patterns_in_which_two_codes_could_look_alike_are_refused(pattern):
    with pytest.raises(CodecError, match="pattern"):
        make_layout("text", vocab_of([4, 4]), pattern=pattern)


def test_patterns_of_other_models():
    assert make_layout("text", vocab_of([4]), pattern="<|s_{i}|>").encode([[3, 0]]) == "<|s_3|><|s_0|>"
    layout = make_layout("text", vocab_of([40, 40]), pattern="<{i}@{q}>")
    assert layout.decode("<31@0><0@1><1@0><1") .tolist() == [[31], [0]]


def trained() -> tuple[Bpe, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    clips = []
    for _ in range(20):
        first = torch.randint(0, 10, (60,), generator=generator).repeat_interleave(6)
        clips.append(torch.stack([first, torch.randint(0, 16, first.shape, generator=generator)]))
    return train_bpe(vocab_of([50, 16]), clips, merges=30, longest=4), clips


def test_byte_pair_encoding_is_exact_and_shorter():
    from codec.tokens.layouts.bpe import compression

    layout, clips = trained()
    assert 10 <= len(layout.merges) <= 30
    for codes in clips:
        assert torch.equal(layout.decode(layout.encode(codes)), codes)
    assert compression(layout, clips) > 2
    # Codes that training did not see have ids too, and no run is longer than asked for.
    unseen = torch.tensor([list(range(50)), [0] * 50])
    assert torch.equal(stream(layout, layout.encode(unseen)), unseen)
    assert max(len(layout.from_first(number)) for number in range(layout.widths[0])) == 4


def test_training_bpe_twice_gives_the_same_and_its_file_decodes_without_the_package(tmp_path, monkeypatch):
    layout, clips = trained()
    assert trained()[0] == layout
    layout.save(tmp_path)
    ids = layout.encode(clips[0])
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    loaded = load_layout(tmp_path)
    assert torch.equal(loaded.decode(ids), clips[0])
    with pytest.raises(CodecError, match="needs the package tokenizers"):
        loaded.encode(clips[0])


@pytest.mark.parametrize("merges", [[[0, 4]], [[0, 0], [5, 0]], [[-1, 0]], [[0, 0, 0]]])
def test_merges_join_what_is_there(merges):
    with pytest.raises(CodecError, match=r"merge \d joins"):
        make_layout("bpe", vocab_of([4, 4]), merges=merges)


def test_all_layouts_are_tested():
    assert {name for name, _ in FORMS} == set(layout_names())
