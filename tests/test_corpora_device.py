"""The path of corpora through a device: the rows are those of the plain path, whatever is in the batches."""


import pytest
import torch
from corpora_tools import files_of, make_corpus, rows_of, write_clips
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.corpora import encode
from codec.corpora.device import IN_FLIGHT, DeviceEncoder, compact, fits


@pytest.fixture
def on_device(monkeypatch):
    """The CPU as the device."""
    monkeypatch.setattr(encode, "on_device", lambda model: True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """16-bit clips of the model's rate, which travel as int16, and clips of another, which do not."""
    folder = tmp_path_factory.mktemp("clips")
    write_clips(folder)
    return folder


@pytest.mark.parametrize("options", [{}, {"batch_seconds": 1.0}, {"batch_seconds": 100.0, "codebooks": 3}, {"deterministic": True}], ids=str)
def test_the_rows_are_those_of_the_plain_path(options, clips, tiny_model_dir, tmp_path, monkeypatch):
    plain = make_corpus(tmp_path / "plain", tiny_model_dir, clips, **options)
    started = []
    start = DeviceEncoder.start
    monkeypatch.setattr(encode, "on_device", lambda model: True)
    monkeypatch.setattr(DeviceEncoder, "start", lambda self, wavs: started.append([wav.dtype for wav in wavs]) or start(self, wavs))
    assert files_of(make_corpus(tmp_path / "device", tiny_model_dir, clips, **options)) == files_of(plain)
    assert {dtype for batch in started for dtype in batch} == {torch.int16, torch.float32}


def test_samples_that_cannot_be_meant_cost_one_row_with_the_same_words(clips, tiny_model_dir, tmp_path, monkeypatch):
    """The device looks for them, since the host's search takes as long as the encoding."""
    read = encode.read_wav

    def spoiled(utterance, rate):
        wav = read(utterance, rate)
        if utterance.id.endswith("clip1"):
            wav[100] = torch.nan
        return wav * 100 if utterance.id.endswith("clip6") else wav

    monkeypatch.setattr(encode, "read_wav", spoiled)
    plain = make_corpus(tmp_path / "plain", tiny_model_dir, clips, batch_seconds=100.0)
    monkeypatch.setattr(encode, "on_device", lambda model: True)
    device = make_corpus(tmp_path / "device", tiny_model_dir, clips, batch_seconds=100.0)
    assert files_of(device) == files_of(plain)
    bad = {row["id"]: row["error"] for row in rows_of(device) if row["error"]}
    assert set(bad) == {"b/clip1", "a/clip6"}
    assert "NaN" in bad["b/clip1"]
    assert "the samples reach" in bad["a/clip6"]


@pytest.mark.parametrize("method", ["start", "finish"])
def test_a_batch_that_fails_on_the_device_is_encoded_plainly(method, on_device, clips, tiny_model_dir, tmp_path, monkeypatch):
    plain = encode.DeviceEncoder
    calls = iter(range(100))
    original = getattr(plain, method)

    def failing(self, argument):
        if next(calls) % 2 == 0:
            raise RuntimeError("out of memory")
        return original(self, argument)

    good = files_of(make_corpus(tmp_path / "good", tiny_model_dir, clips, batch_seconds=1.0))
    monkeypatch.setattr(plain, method, failing)
    assert files_of(make_corpus(tmp_path / "out", tiny_model_dir, clips, batch_seconds=1.0)) == good
    assert next(calls) > 2


def test_batches_on_their_way_do_not_share_memory(tiny_model):
    encoder = DeviceEncoder(tiny_model, 8)
    generator = torch.Generator().manual_seed(0)
    all_clips = [[torch.rand(n, generator=generator) - 0.5 for n in lengths] for lengths in ((1000, 330), (5000,), (20, 7000, 320))]
    flights, made = [], []
    for wavs in all_clips:
        if len(flights) == IN_FLIGHT:
            made += encoder.finish(flights.pop(0))
        flights.append(encoder.start(wavs))
    for flight in flights:
        made += encoder.finish(flight)
    for codes, wav in zip(made, [wav for wavs in all_clips for wav in wavs], strict=True):
        assert torch.equal(codes, tiny_model.encode(wav).codes[0])


def test_a_model_that_sees_the_whole_signal_takes_the_plain_path(tiny_model):
    assert fits(tiny_model)
    values = {"architecture": "seanet", "sample_rate": 16_000, "network": {"n_filters": 2, "latent_dim": 8, "lstm_layers": 1}}
    assert not fits(codec.Codec(codec.config.from_dict(codec.CodecConfig, values)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32_768, 32_767), min_size=1, max_size=50))
def test_samples_of_16_bits_travel_as_they_are(values):
    wav = torch.tensor(values) / 32_768
    assert compact(wav).tolist() == values
    assert torch.equal(compact(wav).float() / 32_768, wav)


@pytest.mark.parametrize("value", [0.1, 1.0, -1.0001, 1e-9, float("nan"), float("inf")])
def test_other_samples_stay_floats(value):
    wav = torch.tensor([0.5, value])
    assert compact(wav) is wav
