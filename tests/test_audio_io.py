"""Audio files in and out, and resampling in blocks."""

import io
import os
import threading

import numpy as np
import pytest
import soundfile
import soxr
import torch
from conftest import make_speech
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.audio import io as audio_io
from codec.audio.io import AUDIO_SUFFIXES, WRITTEN_SUFFIXES, load_audio, save_audio
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


@pytest.mark.parametrize("rate", [1, 999, 768_001, 2**31 - 1])
def test_a_rate_that_no_audio_has_is_refused_before_it_takes_all_memory(tmp_path, tiny_model, rate):
    with pytest.raises(CodecError, match=f"audio of {rate} Hz cannot be resampled, only of 1000 to 768000 Hz"):
        tiny_model.encode(np.zeros(40_000, np.float32), rate)
    path = tmp_path / "claims.wav"
    soundfile.write(path, np.zeros(40_000, np.int16), rate)
    with pytest.raises(CodecError, match=f"claims.wav: audio of {rate} Hz cannot be resampled"):
        load_audio(path, 16_000)
    # As it is it can be read.
    assert load_audio(path).sample_rate == rate


@settings(max_examples=40, deadline=None)
@given(RATES, RATES, st.integers(1, 6_000))
def test_resampled_length_is_that_of_the_same_duration(source, target, samples):
    length = len(resample(torch.zeros(samples), source, target))
    assert length >= 1
    assert abs(length - samples * target / source) <= 1


def write_suffix(path, wav, rate):
    """As other programs write the files that we find by this suffix."""
    formats = {".wave": "WAV", ".bwf": "WAV", ".sph": "NIST", ".mp2": "MP3"}
    if path.suffix in formats:
        soundfile.write(path, wav, rate, format=formats[path.suffix])
    else:
        save_audio(path, torch.from_numpy(wav), rate)


@pytest.mark.parametrize("suffix", AUDIO_SUFFIXES)
def test_every_suffix_that_is_offered_is_read_and_written(tmp_path, suffix):
    wav = make_speech(0.4, 16_000)
    path = tmp_path / f"speech{suffix}"
    write_suffix(path, wav, 16_000)
    audio = load_audio(path)
    assert audio.wav.shape == wav.shape
    assert audio.sample_rate == 16_000
    assert not audio.notes
    similarity = torch.nn.functional.cosine_similarity(audio.wav, torch.from_numpy(wav), dim=0)
    assert similarity > (0.9999 if suffix in WRITTEN_SUFFIXES[:10] else 0.95)
    assert [path.name for path in tmp_path.iterdir()] == [path.name]


def test_suffixes_write_the_formats_that_they_name(tmp_path):
    for suffix, format, subtype, start in (
        (".opus", "OGG", "OPUS", b"OggS"),
        (".oga", "OGG", "VORBIS", b"OggS"),
        (".aif", "AIFF", "PCM_16", b"FORM"),
        (".aifc", "AIFF", "PCM_16", b"FORM"),
        (".snd", "AU", "PCM_16", b".snd"),
        (".rf64", "RF64", "PCM_16", b"RF64"),
    ):
        path = tmp_path / f"out{suffix.upper()}"
        save_audio(path, torch.from_numpy(make_speech(0.2)), 16_000)
        info = soundfile.info(path)
        assert (info.format, info.subtype) == (format, subtype)
        assert path.read_bytes().startswith(start)
    assert (tmp_path / "out.AIFC").read_bytes()[8:12] == b"AIFC"
    assert (tmp_path / "out.AIF").read_bytes()[8:12] == b"AIFF"


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
    with pytest.raises(CodecError, match="cannot be written as audio"):
        save_audio(tmp_path / "out.xyz", torch.zeros(10), 16_000)
    assert not list(tmp_path.iterdir())


FLOATS = make_speech(0.05)


@pytest.mark.parametrize(
    ("wav", "tolerance"),
    [
        (torch.from_numpy(FLOATS)[None], 2**-15),
        (FLOATS, 2**-15),
        (FLOATS[None].astype(np.float64), 2**-15),
        (list(map(float, FLOATS)), 2**-15),
        (torch.from_numpy(FLOATS).requires_grad_(), 2**-15),
        (torch.from_numpy(FLOATS).half(), 2**-11),
        (torch.from_numpy(FLOATS).bfloat16(), 2**-8),
        ((FLOATS * 2**15).astype(np.int16), 2**-14),
        (torch.from_numpy((FLOATS * 2**15).astype(np.int16)), 2**-14),
        ((FLOATS * 2**31).astype(np.int32), 2**-14),
        ((FLOATS * 2**7).astype(np.int8), 2**-6),
        ((FLOATS * 2**7 + 128).astype(np.uint8), 2**-6),
    ],
    ids=lambda value: str(getattr(value, "dtype", type(value).__name__)),
)
def test_samples_of_any_kind_are_saved_at_their_scale(tmp_path, wav, tolerance):
    path = tmp_path / "out.wav"
    save_audio(path, wav, 16_000)
    np.testing.assert_allclose(load_audio(path).wav.numpy(), FLOATS, atol=tolerance)


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES[:10])
def test_every_16_bit_sample_comes_back_as_it_was(tmp_path, suffix):
    samples = np.arange(-(2**15), 2**15, dtype=np.int32).astype(np.int16)
    save_audio(tmp_path / f"a{suffix}", samples, 16_000)
    wav = load_audio(tmp_path / f"a{suffix}").wav
    assert np.array_equal((wav.numpy() * 2**15).astype(np.int16), samples)
    save_audio(tmp_path / f"b{suffix}", wav, 16_000)
    assert torch.equal(load_audio(tmp_path / f"b{suffix}").wav, wav)


def test_what_the_model_decodes_can_be_saved(tmp_path, tiny_model):
    tokens = tiny_model.encode(make_speech(0.2))
    save_audio(tmp_path / "out.wav", tiny_model.decode(tokens), 16_000)
    assert soundfile.info(tmp_path / "out.wav").frames == 3_200


@pytest.mark.parametrize(
    ("wav", "words"),
    [
        (torch.zeros(2, 100), r"must be mono, \(T,\) or \(1, T\); got shape \(2, 100\)"),
        (np.zeros((100, 2)), r"got shape \(100, 2\)"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (np.array([0.0, -np.inf], np.float32), "NaN or infinite"),
        (1000 * FLOATS, "full scale is 1; divide them by their range"),
        (np.zeros(10, np.int64), "int64 have no known range"),
        (np.zeros(10, bool), "bool have no known range"),
        ([[0.0], [0.0, 1.0]], "not rows of different lengths"),
    ],
)
def test_samples_that_cannot_be_meant_leave_the_old_file_alone(tmp_path, wav, words):
    path = tmp_path / "out.wav"
    path.write_bytes(b"precious")
    with pytest.raises(CodecError, match=words):
        save_audio(path, wav, 16_000)
    assert path.read_bytes() == b"precious"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_rate_that_the_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(CodecError, match=r"out.opus: cannot be written \(.* for .opus at 44100 Hz\)"):
        save_audio(tmp_path / "out.opus", FLOATS, 44_100)
    assert not list(tmp_path.iterdir())


def test_floats_beyond_full_scale_are_told_and_far_beyond_refused(tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, FLOATS / np.abs(FLOATS).max() * 1.5, 16_000, subtype="FLOAT")
    assert load_audio(path).notes == ("peaks at 1.50 of full scale",)
    soundfile.write(path, FLOATS * 32_768, 16_000, subtype="FLOAT")
    with pytest.raises(CodecError, match="full scale is 1; divide them by their range"):
        load_audio(path)


@pytest.mark.parametrize("residue", [0.0, 0.05, 1.0])
def test_channels_that_cancel_each_other_are_told(tmp_path, residue):
    wav = make_speech(0.3)
    other = residue * make_speech(0.3, seed=1)[::-1] - wav
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([wav, other], axis=1), 16_000, subtype="FLOAT")
    notes = load_audio(path).notes
    assert any("channels cancel each other" in note for note in notes) == (residue < 1)
    soundfile.write(path, np.zeros((1_000, 2)), 16_000)
    assert not load_audio(path).notes


@pytest.mark.parametrize(
    ("start", "kind"),
    [
        (b"\0\0\0\x1cftypM4A \0\0\2\0", "m4a"),
        (b"\x1a\x45\xdf\xa3\x9f\x42\x86", "webm"),
        (b"#!AMR\n", "amr"),
        (b"RIFF\0\0\0\0WAVEjunk", r"wav of a kind that is not known \(.*\)"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9", "wma"),
    ],
)
def test_sound_of_other_programs_comes_with_the_next_step(tmp_path, start, kind):
    path = tmp_path / "my memo"
    path.write_bytes(start + bytes(500))
    with pytest.raises(
        CodecError, match=f"but {kind}; convert it first: ffmpeg -i '.*my memo' '.*my memo.*wav'"
    ):
        load_audio(path)


def test_a_file_may_have_any_name_and_place(tmp_path):
    wav = make_speech(0.1)
    for name in (b"caf\xe9.wav", b"x" * 251 + b".wav", "\u97f3.wav".encode(), b"new\nline.wav"):
        path = tmp_path / os.fsdecode(name)
        save_audio(path, wav, 16_000)
        assert len(load_audio(path).wav) == len(wav)
        assert os.listdir(os.fsencode(tmp_path)) == [name]
        path.unlink()
    for name in ("", "a\0b"):
        with pytest.raises(CodecError, match="empty name|no file can have this name"):
            load_audio(name)
    with pytest.raises(CodecError, match="cannot be written .file name too long"):
        save_audio(tmp_path / ("x" * 300 + ".wav"), wav, 16_000)


def test_a_pipe_reads_like_a_file(tmp_path):
    path, pipe = tmp_path / "speech.flac", tmp_path / "pipe"
    soundfile.write(path, make_speech(0.5), 16_000)
    os.mkfifo(pipe)
    feeder = threading.Thread(target=lambda: pipe.write_bytes(path.read_bytes()))
    feeder.start()
    audio = load_audio(pipe)
    feeder.join()
    assert torch.equal(audio.wav, load_audio(path).wav)


class Interrupted(io.BytesIO):
    """A file whose reading is interrupted after the header."""

    def read(self, count=-1):
        if self.tell() > 40_000:
            raise KeyboardInterrupt
        return super().read(count)


def test_an_interruption_within_the_library_is_not_lost(tmp_path):
    file = io.BytesIO()
    soundfile.write(file, make_speech(3), 16_000, format="WAV")
    with pytest.raises(KeyboardInterrupt):
        load_audio(Interrupted(file.getvalue()))
