"""What people give to ``encode``, ``decode`` and streams, and what they do with the results."""

import copy
import io
import multiprocessing
import os
import pickle
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_speech, make_tiny_model

import codec
from codec.errors import CodecError

SPEECH = make_speech(0.4)


@pytest.fixture(scope="module")
def model() -> codec.Codec:
    return make_tiny_model()


@pytest.fixture(scope="module")
def tokens(model) -> codec.Tokens:
    return model.encode(SPEECH)


# What is handed out is plain


def test_codes_train_an_embedding(model, tokens):
    table = torch.nn.Embedding(1024, 4)
    table(tokens.codes[:, 0]).sum().backward()
    assert table.weight.grad.abs().sum() > 0
    tokens[0].codes.add_(0)


def test_a_loss_on_decoded_sound_trains(model, tokens):
    gain = torch.ones((), requires_grad=True)
    wav = model.decode(tokens)
    (wav * gain).square().sum().backward()
    assert gain.grad > 0
    wav.mul_(0.5)


def test_streams_hand_out_plain_tensors(model):
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    codes = [encoder.push(SPEECH[:1000]), encoder.push(SPEECH[1000:]), encoder.flush()]
    wavs = [decoder.push(part) for part in codes] + [decoder.flush()]
    kept = [*encoder.state_dict().values(), *decoder.state_dict().values()]
    for tensor in (*codes, *wavs, *kept, encoder.lengths, decoder.lengths, encoder.num_samples):
        assert not tensor.is_inference()
    weight = torch.ones((), requires_grad=True)
    (torch.cat(wavs, dim=1) * weight).sum().backward()


def test_inference_mode_around_changes_nothing(model, tokens):
    with torch.inference_mode():
        inside = model.encode(SPEECH)
        encoder = model.streaming_encoder()
        first = encoder.push(SPEECH[:1600])
    assert inside == tokens and not inside.codes.is_inference()
    codes = torch.cat([first, encoder.push(SPEECH[1600:]), encoder.flush()], dim=2)
    encoder.reset()
    assert torch.equal(codes, tokens.codes) and not codes.is_inference()


# What PyTorch is set to around


SURROUNDINGS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_surroundings_change_neither_codes_nor_sound(model, tokens, tiny_model_dir, name):
    wav, loaded = model.decode(tokens), codec.load(tiny_model_dir, device="cpu")
    with SURROUNDINGS[name]():
        assert model.encode(SPEECH) == tokens
        assert torch.equal(model.decode(tokens), wav)
        encoder = model.streaming_encoder()
        codes = torch.cat([encoder.push(SPEECH), encoder.flush()], dim=2)
        within = codec.load(tiny_model_dir, device="cpu")
    assert torch.equal(codes, tokens.codes)
    assert within.fingerprint == loaded.fingerprint and within.device.type == "cpu"


def test_the_default_dtype_rounds_nothing(tokens, tiny_model_dir):
    torch.set_default_dtype(torch.float16)
    try:
        loaded = codec.load(tiny_model_dir, device="cpu")
        found = loaded.encode(SPEECH.astype(np.float64))
        wav = loaded.decode(found)
        assert torch.get_default_dtype() == torch.float16
    finally:
        torch.set_default_dtype(torch.float32)
    assert found == tokens and wav.dtype == torch.float32


def test_half_a_model_is_refused_in_one_line(tokens):
    model = make_tiny_model().half()
    calls = (
        lambda: model.encode(SPEECH),
        lambda: model.decode(tokens),
        lambda: model.decode(tokens, force=True),
    )
    for call in calls:
        with pytest.raises(CodecError, match=r"weights are float16; .* model\.float\(\)"):
            call()
    # Rounded weights are other weights.
    assert model.float().encode(SPEECH).fingerprint != tokens.fingerprint


# Samples


def test_integers_are_scaled_by_their_range(model):
    exact = np.round(SPEECH * 127) / 128
    expected = model.encode(exact)
    for dtype, scale, zero in (
        (np.int8, 128, 0),
        (np.uint8, 128, 128),
        (np.int16, 2**15, 0),
        (np.int32, 2**31, 0),
    ):
        samples = (exact * scale + zero).astype(dtype)
        assert model.encode(samples) == expected
        stream = model.streaming_encoder()
        assert torch.equal(torch.cat([stream.push(samples), stream.flush()], dim=2), expected.codes)


@pytest.mark.parametrize(
    "samples, words",
    [
        (np.zeros(9, np.int64), "int64 have no known full scale"),
        ([0, 1, 2], "int64 have no known full scale"),
        (np.zeros(9, bool), "bool have no known full scale"),
        (np.zeros(9, complex), "complex128 have no known full scale"),
        (SPEECH * 32768, r"reach .*; floats must lie in \[-1, 1\]: divide by full scale"),
        (np.array(["a"]), "cannot be read as samples"),
        (None, "cannot be read as samples"),
    ],
)
def test_samples_of_unknown_scale_are_refused(model, samples, words):
    with pytest.raises(CodecError, match=words):
        model.encode(samples)
    with pytest.raises(CodecError, match=words):
        model.streaming_encoder().push(samples)


def test_samples_beyond_one_bring_a_note(model):
    loud = SPEECH / np.abs(SPEECH).max() * 1.5
    with pytest.warns(UserWarning, match=r"reach 1\.5, beyond 1"):
        model.encode(loud)
    stream = model.streaming_encoder()
    with pytest.warns(UserWarning, match="beyond 1"):
        stream.push(loud)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Told once in a stream.
        stream.push(loud)
        model.encode(SPEECH / np.abs(SPEECH).max())


def test_the_order_in_memory_does_not_matter(model):
    backwards = model.encode(SPEECH[::-1].copy())
    for same in (SPEECH[::-1], SPEECH.astype(">f4")[::-1], torch.from_numpy(SPEECH).flip(0)):
        assert model.encode(same) == backwards
    pair = np.stack([SPEECH, SPEECH[::-1]])
    assert model.encode(np.asfortranarray(pair)) == model.encode(pair)
    assert model.encode(SPEECH.tolist()) == model.encode(SPEECH)
    assert model.encode(torch.from_numpy(SPEECH.copy()).requires_grad_()) == model.encode(SPEECH)


def test_channels_are_not_taken_for_clips(model):
    for shape in ((16_000, 2), (3_000, 1), (600, 6)):
        with pytest.raises(
            CodecError, match=rf"{shape[0]} clips of {shape[1]} samples; if axis 1 holds channels"
        ):
            model.encode(np.zeros(shape, np.float32))
    assert len(model.encode(np.zeros((40, 9), np.float32))) == 40


# Clips


def test_clips_of_different_lengths(model):
    clips = [SPEECH, torch.from_numpy(SPEECH[:1000]), SPEECH[:3000].tolist()]
    tokens = model.encode(clips)
    assert tokens.num_samples.tolist() == [len(SPEECH), 1000, 3000]
    for clip, one in zip(clips, tokens, strict=True):
        assert one == model.encode(clip)
    with pytest.raises(CodecError, match="leave lengths out"):
        model.encode(clips, lengths=[1, 2, 3])
    with pytest.raises(CodecError, match=r"each clip of a list must be \(T,\), got shape \(2, 9\)"):
        model.encode([np.zeros((2, 9))])
    with pytest.raises(CodecError, match="no samples"):
        model.encode([])


def test_files_their_bytes_and_recordings(model, tmp_path, speech_file):
    audio = codec.load_audio(speech_file)
    expected = model.encode(audio.wav, audio.sample_rate)
    content = speech_file.read_bytes()
    kinds = (bytes, bytearray, memoryview, io.BytesIO)
    for source in (audio, str(speech_file), speech_file, *(kind(content) for kind in kinds)):
        assert model.encode(source) == expected
        assert model.encode([source, source])[1] == expected
    file = io.BytesIO()
    soundfile.write(file, SPEECH, 24_000, format="WAV", subtype="FLOAT")
    assert model.encode(file.getvalue()).num_samples.item() == round(len(SPEECH) * 16 / 24)


@pytest.mark.parametrize("rate", [44_100.0, np.int64(44_100), np.float32(44_100), torch.tensor(44_100)])
def test_whole_rates_of_any_type(model, rate):
    assert model.encode(SPEECH, rate) == model.encode(SPEECH, 44_100)


@pytest.mark.parametrize("rate", [0, -16_000, 16_000.5, "16k", True, float("nan"), float("inf")])
def test_rates_that_are_none(model, rate, tmp_path, speech_file):
    for call in (
        lambda: model.encode(SPEECH, rate),
        lambda: model.encode((SPEECH, rate)) if not isinstance(rate, str) else model.encode(SPEECH, rate),
        lambda: codec.load_audio(speech_file, rate),
        lambda: codec.save_audio(tmp_path / "o.wav", SPEECH, rate),
    ):
        with pytest.raises(CodecError, match="give whole Hz"):
            call()
    assert not (tmp_path / "o.wav").exists()


def test_samples_with_their_rate(model):
    expected = model.encode(SPEECH, 8_000)
    assert model.encode((SPEECH, 8_000)) == model.encode((SPEECH, 8_000.0), 8_000) == expected
    # As SciPy reads a file, and torchaudio one with one channel.
    assert model.encode((8_000, SPEECH)) == expected
    assert model.encode((torch.from_numpy(SPEECH)[None], 8_000)) == expected
    assert model.encode([(SPEECH[None], 8_000), SPEECH])[0] == expected
    with pytest.raises(CodecError, match="come with 8000 Hz, but sample_rate is 16000"):
        model.encode((SPEECH, 8_000), 16_000)
    with pytest.raises(CodecError, match="has its own rate"):
        model.encode(("speech.flac", 8_000))
    with pytest.raises(CodecError, match="samples are a tensor of the layout torch.sparse_coo; give a dense one"):
        model.encode(torch.from_numpy(SPEECH).to_sparse())


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


def test_arrays_that_may_not_be_written_to(model, tokens):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.encode(read_only(SPEECH)) == tokens
        assert torch.equal(model.streaming_encoder().push(read_only(SPEECH)), tokens.codes)
        codes = read_only(tokens.codes.numpy())
        assert torch.equal(model.decode(codes), model.decode(tokens.codes))
        assert torch.equal(model.streaming_encoder(2).push([SPEECH, SPEECH])[:1], tokens.codes)


def test_masks_are_lengths(model):
    wav, lengths = np.stack([SPEECH, SPEECH]), [len(SPEECH), 2000]
    mask = torch.arange(len(SPEECH)) < torch.tensor(lengths).unsqueeze(1)
    expected = model.encode(wav, lengths=lengths)
    for given in (
        mask,
        mask.numpy(),
        mask.long(),
        mask.float(),
        np.array(lengths, np.float64),
        tuple(lengths),
    ):
        assert model.encode(wav, lengths=given) == expected
    for wrong in (~mask, mask.roll(1, 1), mask * 3, [0.5, 2.0], [True, True]):
        with pytest.raises(CodecError, match="lengths"):
            model.encode(wav, lengths=wrong)


def test_a_large_batch_is_computed_in_parts(model, monkeypatch):
    wav = torch.from_numpy(make_speech(0.2)).expand(7, -1) * torch.linspace(0.1, 1, 7).unsqueeze(1)
    tokens = model.encode(wav)
    sound = model.decode(tokens)
    rows = []
    monkeypatch.setattr("codec.model.chunked.MAX_FRAMES", 30)
    encode = model.engine.encoding

    def counted(count):
        made = encode(count)
        function = made.function
        object.__setattr__(
            made, "function", lambda x, state=None: (rows.append(len(x)), function(x, state))[1]
        )
        return made

    monkeypatch.setattr(model.engine, "encoding", counted)
    assert model.encode(wav) == tokens
    assert torch.equal(model.decode(tokens), sound)
    assert rows == [3, 3, 1]


# Codes


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_codes_of_any_integer_type(model, dtype):
    codes = (model.encode(SPEECH[:3200]).codes % 200).numpy().astype(dtype)
    expected = model.decode(torch.from_numpy(codes.astype(np.int64)))
    assert expected.shape == (1, 3200)
    for given in (codes, codes[0], torch.from_numpy(codes), codes.tolist(), codes[::1, ::-1][:, ::-1]):
        assert torch.equal(model.decode(given), expected)
    decoder = model.streaming_decoder()
    assert torch.equal(torch.cat([decoder.push(codes), decoder.flush()], dim=1), expected)


def test_token_files_their_bytes_and_lists(model, tokens, tmp_path):
    path, expected = tmp_path / "t.rvq", model.decode(tokens)
    codec.save_tokens(path, tokens)
    for source in (str(path), path, path.read_bytes(), bytearray(path.read_bytes()), path.open("rb")):
        assert torch.equal(model.decode(source), expected)
    short = model.encode(SPEECH[:1000])
    both = model.decode([tokens, short])
    assert torch.equal(both[:1], expected) and torch.equal(both[1:, :1000], model.decode(short))
    assert torch.equal(model.decode([str(path), short]), both)
    assert codec.Tokens.joined([tokens, short]) == model.encode([SPEECH, SPEECH[:1000]])


def test_bare_codes_are_saved_with_their_model(model, tokens, tmp_path):
    codec.save_tokens(tmp_path / "a.pt", tokens.codes[0].numpy().astype(np.uint16), model)
    loaded = codec.load_tokens(tmp_path / "a.pt")
    assert torch.equal(loaded.codes, tokens.codes) and loaded.fingerprint == model.fingerprint
    assert loaded == model.tokens_of(tokens.codes)


def test_codes_are_as_good_as_tokens(model, tokens):
    wav = model.decode(tokens)
    frames = model.decode(tokens.codes)
    assert frames.shape[1] == tokens.codes.shape[2] * model.hop_length
    torch.testing.assert_close(frames[:, : wav.shape[1] - 320], wav[:, :-320])
    assert torch.equal(model.decode(tokens.codes[:, :3]), model.decode(tokens.codes[0, :3]))
    pair = [tokens.codes[0], tokens.codes[0, :, :5]]
    both = model.decode(pair)
    assert torch.equal(both[1, : 5 * 320], model.decode(pair[1])[0]) and not both[1, 5 * 320 :].any()


@pytest.mark.parametrize(
    "codes, words",
    [
        (torch.zeros(8, 5), "whole numbers, got float32"),
        (torch.zeros(5, dtype=torch.int64), r"expected codes \(K, T\) or \(B, K, T\), got shape \(5,\)"),
        (torch.zeros(1, 8, 0, dtype=torch.int64), "expected codes"),
        (torch.full((8, 5), 1024), r"must lie in 0\.\.1023"),
        (torch.full((8, 5), -1), r"must lie in 0\.\.1023"),
        (torch.zeros(9, 10, dtype=torch.int64), "9 codebooks requested"),
        (torch.zeros(50, 8, dtype=torch.int64), r"50 codebooks of 8 frames; give them as \(K, T\)"),
        ([torch.zeros(8, 5, dtype=torch.int64), torch.zeros(7, 5, dtype=torch.int64)], "the same layers"),
        (None, r"cannot be read as codes \(NoneType\); give tokens, an array"),
        ({}, r"cannot be read as codes \(dict\)"),
        ([], "no codes"),
        ([[1, 2], [3]], "cannot be read as codes"),
        ("nowhere.pt", "nowhere.pt: cannot be read"),
        (b"junk", "the bytes: not a token file"),
    ],
)
def test_wrong_codes_are_refused_in_words(model, codes, words):
    with pytest.raises(CodecError, match=words):
        model.decode(codes)


def test_tokens_compare_and_slice(model):
    tokens = model.encode([SPEECH, SPEECH[:1000], SPEECH[:3000]])
    part = tokens[1:3]
    assert part.lengths.tolist() == [4, 10] and part.codes.shape == (2, 8, 10)
    assert (part[0], part[1]) == (tokens[1], tokens[2]) and tokens[-1] == tokens[2]
    assert torch.equal(model.decode(part)[0, :1000], model.decode(tokens[1])[0])
    assert tokens == model.encode([SPEECH, SPEECH[:1000], SPEECH[:3000]])
    assert tokens != tokens[:2] and tokens != tokens.first(2) and tokens != 3
    assert len(list(tokens)) == 3 and len(tokens[5:]) == 0
    for other in ([1, 0], (1, 0), np.array([1, 0]), torch.tensor([1, 0], dtype=torch.uint8)):
        assert tokens[other].lengths.tolist() == [4, 20] and tokens[other][1] == tokens[0]
    assert tokens[[True, False, True]] == tokens[[0, -1]] == tokens[::2] and len(tokens[[]]) == 0
    for wrong in (3, -4, [3], [True]):
        with pytest.raises(IndexError):
            tokens[wrong]
    for wrong in ("a", 1.0, [0.5], [[0]], None):
        with pytest.raises(TypeError, match="indexed by a number, a slice or a list of clips"):
            tokens[wrong]


def test_tokens_of_different_models_or_layers_make_no_batch(model, tokens):
    other = make_tiny_model(1).encode(SPEECH)
    for pair, words in (
        ([tokens, other], "different models"),
        ([tokens, tokens.first(2)], r"\[2, 8\] codebooks"),
        ([tokens, tokens.codes], "a list of tokens and Tensor"),
    ):
        with pytest.raises(CodecError, match=words):
            model.decode(pair)
    with pytest.raises(CodecError, match="no tokens"):
        codec.Tokens.joined([])


# Copies


def copies(model: codec.Codec):
    yield copy.deepcopy(model)
    yield pickle.loads(pickle.dumps(model))


def test_a_used_model_can_be_copied(tokens):
    model = make_tiny_model()
    assert model.encode(SPEECH) == tokens
    wav = model.decode(tokens)
    for other in copies(model):
        assert other.encode(SPEECH) == tokens
        with torch.no_grad():
            other.encoder.backbone.out.bias.add_(1.0)
        assert other.encode(SPEECH) != tokens
        assert other.engine.network is other
    assert model.encode(SPEECH) == tokens and torch.equal(model.decode(tokens), wav)


def _encode_elsewhere(model: codec.Codec) -> np.ndarray:
    return model.encode(SPEECH).codes.numpy()


@pytest.fixture(scope="module")
def exported_dir(model, tmp_path_factory):
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    from codec.export.folder import export_graphs

    folder = tmp_path_factory.mktemp("exported")
    codec.save(model, folder)
    export_graphs(model, folder)
    return folder


def test_a_used_onnx_model_can_be_copied_and_sent(exported_dir, tokens):
    model = codec.load(exported_dir, device="cpu", engine="onnx")
    assert torch.equal(model.encode(SPEECH).codes, tokens.codes)
    for other in copies(model):
        assert other.engine.name == "onnx"
        assert torch.equal(other.encode(SPEECH).codes, tokens.codes)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert np.array_equal(pool.apply(_encode_elsewhere, (model,)), tokens.codes.numpy())


def test_onnx_follows_changed_weights(exported_dir, tokens):
    model = codec.load(exported_dir, device="cpu", engine="onnx")
    model.encode(SPEECH)
    other = make_tiny_model(1)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.encode(SPEECH).codes, other.encode(SPEECH).codes)


# Loading


@pytest.mark.parametrize("device", ["cpu", "cpu:0", torch.device("cpu")])
def test_devices_as_pytorch_has_them(tiny_model_dir, device):
    assert codec.load(tiny_model_dir, device=device).device.type == "cpu"


@pytest.mark.parametrize(
    "device, words",
    [
        ("cuda:99", "not available here"),
        ("tpu", "unknown device"),
        (7.5, "unknown device"),
        ("meta", "unknown device"),
    ],
)
def test_other_devices_are_one_line(tiny_model_dir, device, words):
    with pytest.raises(CodecError, match=words):
        codec.load(tiny_model_dir, device=device)


def test_the_home_folder(model, tokens, tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tiny_model_dir.parent))
    assert codec.load(f"~/{tiny_model_dir.name}", device="cpu").causal
    monkeypatch.setenv("HOME", str(tmp_path))
    codec.save_audio("~/a.wav", SPEECH, 16_000)
    codec.save_tokens(Path("~/a.pt"), tokens)
    codec.save(model, "~/m")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "a.wav", "m"]
    assert len(codec.load_audio("~/a.wav").wav) == len(SPEECH)
    assert codec.load_tokens("~/a.pt") == codec.load_tokens(Path("~/a.pt")) == tokens


# What is of no use


WRONG_CALLS = {
    "load: None": (lambda m, t: codec.load(None), "expected the name of a model, got NoneType"),
    "load: number": (lambda m, t: codec.load(5), "expected the name of a model, got int"),
    "load: no user": (lambda m, t: codec.load("~nosuch/m"), "no model '~nosuch/m'"),
    "load: long": (lambda m, t: codec.load("a" * 5000), "no model 'aaa"),
    "load: engine": (lambda m, t: codec.load(engine=None), "expected the name of an engine"),
    "save: order": (lambda m, t: codec.save("folder", m), "str is no model; the order is"),
    "save: None": (lambda m, t: codec.save(m, None), "expected the name of a model"),
    "load_audio: array": (lambda m, t: codec.load_audio(SPEECH), "path, bytes or an open file, got ndarray"),
    "load_audio: junk": (lambda m, t: codec.load_audio(b"junk"), "the bytes: not an audio file"),
    "load_audio: empty": (lambda m, t: codec.load_audio(b""), r"the bytes: empty \(0 bytes\)"),
    "load_audio: text": (lambda m, t: codec.load_audio(io.StringIO("x")), "the open file: is text"),
    "encode: junk": (lambda m, t: m.encode(b"junk"), "the bytes: not an audio file"),
    "encode: tokens": (lambda m, t: m.encode(t), r"as samples \(Tokens\); give an array"),
    "encode: lengths": (lambda m, t: m.encode(SPEECH, lengths="x"), r"as lengths \(str\)"),
    "encode: recording's lengths": (
        lambda m, t: m.encode(codec.Audio(torch.zeros(800), 16_000, 16_000, 1), lengths=[100]),
        "a recording has its own length; leave lengths out",
    ),
    "encode: file's lengths": (lambda m, t: m.encode("a.wav", lengths=[100]), "a recording has its own length"),
    "decode: no clip": (lambda m, t: m.decode(t[0:0]), "the tokens are of no clip"),
    "save_audio: no rate": (lambda m, t: codec.save_audio("o.wav", SPEECH), "give sample_rate"),
    "save_audio: path": (lambda m, t: codec.save_audio(5, SPEECH, 16_000), "expected the name of an audio file"),
    "save_audio: None": (lambda m, t: codec.save_audio("o.wav", None, 16_000), "expected samples"),
    "save_tokens: codes": (lambda m, t: codec.save_tokens("t.pt", t.codes), "of bare codes give the model too"),
    "save_tokens: order": (lambda m, t: codec.save_tokens("t.pt", m, t), "the order is save_tokens"),
    "save_tokens: path": (lambda m, t: codec.save_tokens(t, "t.pt", m), "expected the name of a token file"),
    "load_tokens": (lambda m, t: codec.load_tokens(t), "path, bytes or an open file, got Tokens"),
    "decoder.push": (lambda m, t: m.streaming_decoder().push(t), r"\(Tokens\); .* such as tokens.codes"),
    "encoder.push": (lambda m, t: m.streaming_encoder().push("a.wav"), r"\(str\); .* such as audio.wav"),
    "batch": (lambda m, t: m.streaming_encoder(batch=1.5), "a stream of 1.5 signals"),
    "state": (lambda m, t: m.streaming_encoder().load_state_dict(None), "start a new one"),
    "pickle": (lambda m, t: pickle.dumps(m.streaming_encoder()), "live stream cannot be copied or pickled"),
    "deepcopy": (lambda m, t: copy.deepcopy(m.streaming_decoder()), "keep its state_dict"),
    "first": (lambda m, t: t.first("2"), "give a whole number, 1 to 8"),
}


@pytest.mark.parametrize("name", WRONG_CALLS)
def test_what_cannot_be_meant_is_one_line(model, tokens, name, tmp_path, monkeypatch):
    call, words = WRONG_CALLS[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CodecError, match=words) as raised:
        call(model, tokens)
    assert "\n" not in str(raised.value) and not list(tmp_path.iterdir())


def test_a_recording_is_saved_at_its_rate(tmp_path, speech_file):
    audio = codec.load_audio(speech_file)
    for rate in ((), (audio.sample_rate,)):
        codec.save_audio(tmp_path / "o.wav", audio, *rate)
        again = codec.load_audio(tmp_path / "o.wav")
        assert again.sample_rate == audio.sample_rate and torch.equal(again.wav, audio.wav)
    with pytest.raises(CodecError, match="the recording has .* Hz, not 1000; .* load it at that rate"):
        codec.save_audio(tmp_path / "o.wav", audio, 1_000)


# The page about it

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[-1][:20])
def test_the_page_runs(block, tmp_path):
    shutil.copy(Path(codec.__file__).parent / "assets" / "speech.flac", tmp_path)
    environment = os.environ | {"PYTHONPATH": str(PAGE.parents[1])}
    command = [sys.executable, "-c", block]
    result = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_numbers_of_codebooks_are_whole(tiny_model):
    wav = 0.1 * torch.randn(1_000)
    assert tiny_model.encode(wav, num_codebooks=np.int64(2)).codes.shape[1] == 2
    for wrong in (2.0, "2", True, [1]):
        with pytest.raises(codec.CodecError, match="give a whole number"):
            tiny_model.encode(wav, num_codebooks=wrong)


def test_a_path_is_never_a_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(codec.CodecError, match="no model './default'"):
        codec.load("./default", device="cpu")
