"""Sound files in and out, and resampling in blocks."""

import io

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import make_speech
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.audio import io as audio_io
from codec.audio.io import load_audio, save_audio
from codec.audio.resample import StreamResampler, resample
from codec.errors import CodecError

RATES = st.sampled_from([3_000, 8_000, 16_000, 22_050, 44_100, 48_000, 192_000])


def write(path, wav, rate):
    opus = {"format": "OGG", "subtype": "OPUS"} if path.suffix == ".opus" else {}
    soundfile.write(path, wav, rate, **opus)


@settings(max_examples=40, deadline=None)
@given(RATES, RATES, st.integers(1, 6_000), st.integers(1, 2_500), st.integers(0, 9))
def test_resampling_in_blocks_equals_soxr_at_once(source, target, samples, block, seed):
    wav = np.random.default_rng(seed).standard_normal(samples).astype(np.float32)
    pieces = [wav[start : start + block] for start in range(0, samples, block)]
    joined = np.concatenate(list(StreamResampler(source, target).run(pieces)))
    whole = soxr.resample(wav, source, target)
    expected = whole if len(whole) else wav[:1]
    assert joined.shape == expected.shape
    np.testing.assert_allclose(joined, expected, atol=1e-5)
    assert np.array_equal(resample(torch.from_numpy(wav), source, target).numpy()[:1], joined[:1])


@settings(max_examples=40, deadline=None)
@given(RATES, RATES, st.integers(1, 6_000))
def test_resampled_length_is_that_of_the_same_duration(source, target, samples):
    length = len(resample(torch.zeros(samples), source, target))
    assert length >= 1
    assert abs(length - samples * target / source) <= 1


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3", ".aiff", ".caf"])
def test_every_format_gives_all_its_samples(tmp_path, suffix):
    path = tmp_path / f"speech{suffix}"
    wav = make_speech(1.3, 48_000)
    write(path, np.stack([wav, wav], axis=1), 48_000)
    audio = load_audio(path, 16_000)
    assert audio.wav.shape == (20_800,)
    assert audio.wav.dtype == torch.float32
    assert (audio.sample_rate, audio.source_rate, audio.source_channels) == (16_000, 48_000, 2)
    expected = resample(torch.from_numpy(wav), 48_000, 16_000)
    similarity = torch.nn.functional.cosine_similarity(audio.wav, expected, dim=0)
    assert similarity > 0.98


def test_channels_are_mixed_down_by_their_mean(tmp_path):
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 8)).astype(np.float32)
    path = tmp_path / "eight.wav"
    soundfile.write(path, channels, 16_000, subtype="FLOAT")
    np.testing.assert_allclose(load_audio(path).wav.numpy(), channels.mean(axis=1), atol=1e-6)


def test_the_size_of_read_blocks_does_not_matter(tmp_path, monkeypatch):
    path = tmp_path / "speech.wav"
    soundfile.write(path, make_speech(0.5, 44_100), 44_100)
    whole = load_audio(path, 16_000).wav
    monkeypatch.setattr(audio_io, "_BLOCK", 997)
    torch.testing.assert_close(load_audio(path, 16_000).wav, whole, atol=1e-6, rtol=0)


def test_an_open_file_reads_like_its_path(tmp_path):
    path = tmp_path / "speech.flac"
    soundfile.write(path, make_speech(0.2), 16_000)
    with io.BytesIO(path.read_bytes()) as file:
        assert torch.equal(load_audio(file).wav, load_audio(path).wav)


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_saved_samples_come_back_to_16_bits(tmp_path, suffix):
    path = tmp_path / f"out{suffix}"
    wav = torch.cat([torch.from_numpy(make_speech(0.1)), torch.tensor([2.0, -2.0])])
    save_audio(path, wav, 16_000)
    assert soundfile.info(path).subtype == "PCM_16"
    torch.testing.assert_close(load_audio(path).wav, wav.clamp(-1, 1), atol=2**-15, rtol=0)


def test_an_unknown_format_is_refused_before_writing(tmp_path):
    with pytest.raises(CodecError, match="no sound format"):
        save_audio(tmp_path / "out.xyz", torch.zeros(10), 16_000)
    assert not list(tmp_path.iterdir())
