"""``codec.load``, ``encode`` and ``decode`` as a user meets them."""

import numpy as np
import pytest
import torch
from conftest import make_speech
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.errors import CodecError

HOP = 320


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return codec.load(tiny_model_dir, device="cpu")


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 4 * HOP + 1), count=st.integers(1, 8))
def test_frames_and_decoded_length_follow_the_samples(tiny_model, samples, count):
    tokens = tiny_model.encode(make_speech(1.0)[:samples], num_codebooks=count)
    frames = -(-samples // HOP)
    assert tokens.codes.shape == (1, count, frames)
    assert tokens.codes.dtype == torch.int64
    assert tokens.lengths.tolist() == [frames]
    assert tokens.num_samples.tolist() == [samples]
    wav = tiny_model.decode(tokens)
    assert wav.shape == (1, samples)
    assert wav.dtype == torch.float32
    assert wav.abs().max() <= 1.0


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 3_000), min_size=1, max_size=4), seed=st.integers(0, 9))
def test_a_padded_batch_equals_its_clips_alone(tiny_model, lengths, seed):
    clips = [torch.from_numpy(make_speech(0.2, seed=seed + i)[:n]) for i, n in enumerate(lengths)]
    padded = torch.full((len(clips), max(lengths)), 0.3)  # whatever lies in the padding must not count
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    before = padded.clone()
    batch = tiny_model.encode(padded, lengths=torch.tensor(lengths))
    assert torch.equal(padded, before), "the caller's audio was changed"
    wavs = tiny_model.decode(batch)
    for index, clip in enumerate(clips):
        alone = tiny_model.encode(clip)
        assert torch.equal(batch[index].codes, alone.codes)
        length = lengths[index]
        torch.testing.assert_close(wavs[index, :length], tiny_model.decode(alone)[0], atol=1e-6, rtol=0)
        assert not wavs[index, length:].any()


def test_numpy_torch_integers_and_batches_give_the_same_tokens(model):
    integers = (make_speech(0.3) * 32_768).astype(np.int16)
    floats = (integers / 32_768).astype(np.float32)
    expected = model.encode(floats).codes
    for wav in (
        torch.from_numpy(floats),
        floats[None],
        integers,
        torch.from_numpy(integers),
        floats.astype("f8"),
    ):
        assert torch.equal(model.encode(wav).codes, expected)


def test_other_rates_are_resampled(model):
    tokens = model.encode(make_speech(0.5, 48_000), sample_rate=48_000)
    assert tokens.num_samples.tolist() == [8_000]
    assert model.decode(tokens).shape == (1, 8_000)
    pair = model.encode(
        np.stack([make_speech(0.5, 48_000)] * 2), sample_rate=48_000, lengths=torch.tensor([24_000, 2_400])
    )
    assert pair.num_samples.tolist() == [8_000, 800]
    assert torch.equal(pair[0].codes, tokens.codes)


def test_fewer_codebooks_are_the_first_ones(model):
    full = model.encode(make_speech(0.3))
    few = model.encode(make_speech(0.3), num_codebooks=3)
    assert torch.equal(few.codes, full.codes[:, :3])
    assert torch.equal(model.decode(few), model.decode(full.first(3)))
    assert not torch.equal(model.decode(few), model.decode(full))


def test_a_saved_model_is_the_same_model(model, tiny_model):
    wav = make_speech(0.3)
    assert model.fingerprint == tiny_model.fingerprint
    assert torch.equal(model.encode(wav).codes, tiny_model.encode(wav).codes)


def test_half_precision_files_keep_codebooks_exact(tiny_model, tmp_path):
    codec.save(tiny_model, tmp_path, dtype=torch.float16)
    loaded = codec.load(tmp_path, device="cpu")
    assert torch.equal(loaded.quantizer.codebooks, tiny_model.quantizer.codebooks)
    assert all(tensor.dtype == torch.float32 for tensor in loaded.parameters())
    assert not any(tensor.requires_grad for tensor in loaded.parameters())
    codec.save(loaded, tmp_path / "again", dtype=torch.float16)
    assert codec.load(tmp_path / "again", device="cpu").fingerprint == loaded.fingerprint


def test_rates_and_latency_are_stated(model):
    assert [model.bitrate(count) for count in (1, 8)] == [500, 4_000]
    assert model.bitrate() == 4_000
    assert (model.latency.samples, model.latency.milliseconds) == (640, 40.0)
    assert (model.sample_rate, model.hop_length, model.num_codebooks) == (16_000, HOP, 8)


@pytest.mark.parametrize(
    ("wav", "options", "words"),
    [
        (np.zeros(0), {}, "no samples"),
        (np.zeros((2, 0)), {}, "no samples"),
        (np.zeros((1, 1, 9)), {}, r"expected mono audio \(T,\) or \(B, T\), got shape \(1, 1, 9\)"),
        (np.array([0.0, np.nan]), {}, "NaN or infinite"),
        (np.array([0.0, -np.inf]), {}, "NaN or infinite"),
        (np.zeros(9), {"num_codebooks": 9}, "1 to 8"),
        (np.zeros((2, 9)), {"lengths": torch.tensor([9])}, "lengths"),
        (np.zeros((2, 9)), {"lengths": torch.tensor([9, 10])}, "lengths"),
        (np.zeros((2, 9)), {"lengths": torch.tensor([9, 0])}, "lengths"),
    ],
)
def test_wrong_audio_is_refused_in_words(model, wav, options, words):
    with pytest.raises(CodecError, match=words):
        model.encode(wav, **options)


def test_tokens_of_another_model_are_refused_unless_forced(model, other_model_dir):
    other = codec.load(other_model_dir, device="cpu")
    tokens = model.encode(make_speech(0.2))
    with pytest.raises(CodecError, match=f"made by model {model.fingerprint}, this is {other.fingerprint}"):
        other.decode(tokens)
    assert other.decode(tokens, force=True).shape == (1, 3_200)


def test_unknown_names_and_attributes():
    with pytest.raises(CodecError, match="no model 'nobody'"):
        codec.load("nobody")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        codec.nothing  # noqa: B018
    assert set(codec.__all__) <= set(dir(codec))
    assert all(getattr(codec, name) is not None for name in codec.__all__)
