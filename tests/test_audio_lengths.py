"""How long a recording is: what the file holds, whatever its header claims or a library guesses."""

import io
import os
import signal
import struct
import time

import numpy as np
import pytest
import soundfile
import torch
from command import run_ok
from conftest import make_speech
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sound_files import (
    APE,
    ID3V1,
    JOINABLE,
    encoded,
    flac_of_a_pipe,
    id3,
    joinable,
    mp3,
    mp3_in_wav,
    vbr_mp3,
    with_sizes,
)  # fmt: skip

from codec.audio.io import duration_of, load_audio
from codec.audio.kinds import MPEG_BYTES, mpeg_frame
from codec.errors import CodecError

SECONDS = 1.5
WAV = make_speech(SECONDS)
SAMPLES = len(WAV)
FRAME = 576
"""Samples of an MP3 frame at 16 kHz."""


def read(data: bytes):
    return load_audio(io.BytesIO(data))


def says(audio, words: str) -> bool:
    return any(words in note for note in audio.notes)


def frames_of(data: bytes) -> int:
    """MPEG frames, counted one by one."""
    place, count = 0, 0
    while frame := mpeg_frame(data[place : place + 4]):
        place, count = place + frame.size, count + 1
    assert place == len(data)
    return count


@pytest.mark.parametrize("before", [b"", id3(), id3() + bytes(40)])
def test_an_mp3_without_a_xing_frame_is_read_to_its_end(before):
    """libsndfile alone guesses the length from the size and the first frame's bitrate."""
    data = vbr_mp3(WAV, WAV)
    guessed = soundfile.info(io.BytesIO(data)).frames
    held = frames_of(data) * FRAME
    assert guessed < 0.9 * held, "the guess of this test's file should be wrong"
    audio = read(before + data)
    assert len(audio.wav) == held
    assert says(audio, f"does not say how long it is; {held} samples were read")


@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100, 48_000])
def test_an_mp3_of_a_speech_service_is_taken(rate):
    data = mp3(make_speech(0.7, rate), rate, tag=False)
    audio = read(data)
    assert len(audio.wav) == frames_of(data) * mpeg_frame(data).samples
    assert audio.source_rate == rate


@pytest.mark.parametrize("tags", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("between", [b"", id3(), b"TAG" + bytes(125)])
def test_joined_mp3s_are_read_with_all_their_parts(tags, between):
    parts = [mp3(WAV, tag=tag) for tag in tags]
    audio = read(between.join(parts))
    alone = [len(read(part).wav) for part in parts]
    assert abs(len(audio.wav) - sum(alone)) <= (2 * FRAME if tags == (False, False) else 0)
    if any(tags):
        assert says(audio, "holds 2 recordings one after the other; all were read")


@pytest.mark.parametrize("tag", [True, False])
@pytest.mark.parametrize("cut", [1, 100, 500, 1_000])
def test_an_mp3_whose_end_is_missing_gives_all_whole_frames(tag, cut):
    whole = mp3(WAV, tag=tag)
    audio = read(whole[:-cut])
    lost = frames_of(mp3(WAV, tag=False)) - (len(audio.wav) // FRAME)
    assert 1 <= lost <= 1 + cut // 100
    assert says(audio, "samples that its header promises" if tag else "cut short in its last frame")


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("other", ["VORBIS", "OPUS"])
def test_every_link_of_a_chained_ogg_is_read(subtype, other):
    first = encoded(WAV, format="OGG", subtype=subtype)
    second = encoded(make_speech(0.4, 48_000), 48_000, format="OGG", subtype=other)
    audio = read(first + second)
    assert len(audio.wav) == SAMPLES + 6_400
    assert says(audio, "holds 2 recordings")
    assert len(read(first).wav) == SAMPLES
    assert not read(first).notes


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC"])
def test_joined_files_of_one_kind_are_read_with_all_their_parts(format):
    data = encoded(WAV, format=format, subtype="PCM_16")
    audio = read(data + data)
    assert np.array_equal(audio.wav.numpy(), np.tile(read(data).wav.numpy(), 2))
    assert says(audio, "holds 2 recordings")


def padded(data: bytes, samples: int, padding: str) -> bytes:
    """A file as programs write it that fill it up to a multiple of 8, or not at all."""
    if padding == "filled":
        return data + bytes(-len(data) % 8)
    is_filled = padding == "none" and data[-1] == 0 and len(soundfile.read(io.BytesIO(data[:-1]))[0]) == samples
    if is_filled and data.startswith(b"FORM"):  # where libsndfile counts the padding
        place = data.index(b"SSND") + 4
        size = struct.unpack(">I", data[place : place + 4])[0]
        data = data[:place] + struct.pack(">I", size - 1) + data[place + 4 :]
    return data[:-1] if is_filled else data


@settings(max_examples=80, deadline=None)
@given(
    kinds=st.tuples(st.sampled_from(JOINABLE), st.sampled_from(JOINABLE)),
    samples=st.tuples(st.integers(1, 9_000), st.integers(1, 9_000)),
    padding=st.sampled_from(["as it is", "none", "filled"]),
    between=st.sampled_from([b"", b"", ID3V1, APE, b"\n", id3()]),
)
def test_of_joined_files_of_any_kinds_all_is_read(kinds, samples, padding, between):
    """Whatever bytes lie between them, and however odd the first one's length is."""
    rng = np.random.default_rng(samples)
    files = [joinable(kind, rng.uniform(-0.3, 0.3, count)) for kind, count in zip(kinds, samples, strict=True)]
    if kinds[0].endswith("pipe"):
        assume(kinds[0].startswith("FLAC") or not (between or kinds[1].startswith("MP3")))  # it could go on with them
    elif "PCM" in kinds[0] and "FLAC" not in kinds[0]:
        files[0] = padded(files[0], samples[0], padding)
    if kinds[1].startswith("MP3") and between == b"\n":
        between = b""  # behind any bytes its frames could be anything
    alone = [read(data) for data in files]
    data = between.join(files)
    audio = read(data)
    assert duration_of(io.BytesIO(data)) == len(audio.wav) / 16_000
    if all(kind.startswith("MP3") for kind in kinds):  # one stream, which a decoder plays on with
        assert abs(len(audio.wav) - sum(len(part.wav) for part in alone)) <= 2 * FRAME
    else:
        assert torch.equal(audio.wav, torch.cat([part.wav for part in alone]))
        assert says(audio, "holds 2 recordings one after the other; all were read")


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([kind for kind in JOINABLE if kind != "WAV PCM_24 pipe"]),
    samples=st.integers(1, 9_000),
    tail=st.sampled_from([ID3V1, APE, b"\n", b"\xff", bytes(512), bytes(range(1, 201)), ID3V1 + APE, id3()])
    | st.binary(min_size=1, max_size=50),
)
def test_bytes_after_the_audio_change_nothing(kind, samples, tail):
    assume(kind != "FLAC PCM_16 pipe" or tail[0] != 0xFF)  # which could begin a further frame
    data = joinable(kind, np.random.default_rng(samples).uniform(-0.3, 0.3, samples))
    alone, audio = read(data), read(data + tail)
    assert torch.equal(audio.wav, alone.wav)
    assert audio.notes == alone.notes
    assert duration_of(io.BytesIO(data + tail)) == duration_of(io.BytesIO(data))


@pytest.mark.parametrize("format", ["WAV", "RF64", "W64", "AIFF", "CAF"])
@pytest.mark.parametrize("samples", [3_000, 3_001])
def test_chunks_after_the_audio_add_no_samples(format, samples):
    content = bytes(range(200)) * 2
    chunk = {
        "WAV": b"LIST" + struct.pack("<I", 400),
        "RF64": b"LIST" + struct.pack("<I", 400),
        "W64": bytes.fromhex("6c6973742f91cf11a5d628db04c10000") + struct.pack("<Q", 424),
        "AIFF": b"ANNO" + struct.pack(">I", 400),
        "CAF": b"info" + struct.pack(">q", 400),
    }[format] + content
    data = encoded(WAV[:samples], format=format, subtype="PCM_24")
    data += bytes(-len(data) % 8) if format == "W64" else b""
    audio = read(data + chunk)
    assert torch.equal(audio.wav, read(data).wav)
    assert not audio.notes
    assert len(read(data + chunk + data).wav) == 2 * samples


def test_files_are_read_with_long_ones_that_follow_them():
    """So long that the last frames of the first are not near the end."""
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, 2_200_000)
    wav = encoded(noise, format="WAV", subtype="PCM_16")
    for data in (encoded(WAV, format="FLAC"), mp3(WAV), mp3(WAV, tag=False)):
        assert len(read(data + APE + wav).wav) == len(read(data).wav) + len(noise)
    flac = encoded(WAV, format="FLAC")
    assert len(read(flac + APE + wav + flac).wav) == len(noise) + 2 * SAMPLES
    assert len(read(flac + bytes(5_000_000)).wav) == SAMPLES


@pytest.mark.parametrize("between", [b"", ID3V1, id3()])
def test_joined_mp3s_of_other_forms_are_read_with_all_their_parts(between):
    """Without a Xing frame, only the headers of the frames show that the rate or the channels change."""
    first, stereo = mp3(WAV, tag=False), mp3(np.stack([WAV, WAV], axis=1), tag=False)
    for second in (mp3(make_speech(SECONDS, 24_000), 24_000, tag=False), stereo):
        for pair in ((first, second), (second, first)):
            audio = read(between.join(pair))
            alone = sum(len(read(data).wav) / read(data).sample_rate for data in pair)
            assert abs(len(audio.wav) / audio.sample_rate - alone) < 1e-3
            assert says(audio, "holds 2 recordings")


def test_a_recording_of_a_kind_that_is_not_read_is_noted_after_another():
    m4a = b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(500)
    for kind in ("WAV PCM_24", "W64 PCM_24", "FLAC PCM_16", "OGG VORBIS", "MP3 MPEG_LAYER_III"):
        audio = read(joinable(kind, WAV) + m4a)
        assert len(audio.wav) == SAMPLES
        assert audio.notes == ("m4a audio follows it, which is not read here; convert it first",)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST"]), st.floats(0.3, 0.99))
def test_a_file_that_holds_less_than_it_promises_says_so(format, share):
    data = encoded(WAV, format=format, subtype="PCM_16")
    header = len(data) - 2 * SAMPLES
    cut = data[: header + int(share * 2 * SAMPLES)]
    audio = read(cut)
    assert len(audio.wav) == (len(cut) - header) // 2
    assert says(audio, f"holds {len(audio.wav)} of the {SAMPLES} samples that its header promises")
    assert duration_of(io.BytesIO(cut)) == len(audio.wav) / 16_000


@pytest.mark.parametrize("whole", [0, 36, 0xFFFF_FFFF, 0x7FFF_FFFF])
@pytest.mark.parametrize(
    "sound", [0, 0xFFFF_FFFF, 0xFFFF_FFFF - 36, 0x7FFF_FFFF, 0x7FFF_FFFF - 36, 0x7FFF_F000]
)
def test_a_wav_with_the_sizes_of_a_pipe_or_a_dead_recorder_is_whole(whole, sound):
    data = encoded(WAV, format="WAV", subtype="PCM_16")
    audio = read(with_sizes(data, whole, sound))
    assert np.array_equal(audio.wav.numpy(), read(data).wav.numpy())
    assert says(audio, "does not say how long it is") == (sound == 0)
    assert not says(audio, "promises")


def test_a_wav_without_sound_stays_empty():
    """Zero bytes of audio with other chunks behind are not a recorder that died."""
    data = encoded(np.zeros(0, np.float32), format="WAV", subtype="PCM_16")
    tail = b"LIST" + struct.pack("<I", 8) + b"INFOabcd"
    for empty in (data, data + tail):
        with pytest.raises(CodecError, match="has no samples"):
            read(empty)


@pytest.mark.parametrize("format", ["AIFF", "AU", "CAF"])
def test_other_formats_of_pipes_are_whole(format):
    data = bytearray(encoded(WAV, format=format, subtype="PCM_16"))
    place = {"AIFF": data.find(b"SSND") + 4, "AU": 8, "CAF": data.find(b"data") + 4}[format]
    size = struct.pack(">q", -1) if format == "CAF" else bytes(4)
    data[place : place + len(size)] = size
    assert len(read(bytes(data)).wav) == SAMPLES


def test_flac_of_a_pipe_is_whole():
    data = encoded(WAV, format="FLAC")
    audio = read(flac_of_a_pipe(data))
    assert np.array_equal(audio.wav.numpy(), read(data).wav.numpy())
    assert says(audio, "does not say how long it is")
    assert not read(data).notes
    assert np.array_equal(read(id3() + data).wav.numpy(), audio.wav.numpy())


FLAC_FRAME = 4096
"""Samples of a frame as libsndfile writes FLAC."""


@settings(max_examples=40, deadline=None)
@given(
    cut=st.integers(1, 12_000),
    loud=st.sampled_from([1e-4, 0.3]),
    seed=st.integers(0, 99),
    rate=st.sampled_from([16_000, 48_000]),
    is_pipe=st.booleans(),
)
def test_a_flac_cut_in_a_frame_gives_all_whole_frames(cut, loud, seed, rate, is_pipe):
    """As other formats do; noise holds many bytes that look like the beginning of a frame."""
    noise = np.random.default_rng(seed).uniform(-loud, loud, (3 * FLAC_FRAME, 2)).astype(np.float32)
    wav = np.concatenate([noise, noise + 1e-3])
    data = encoded(wav, rate, format="FLAC", subtype="PCM_24")
    whole = read(data)
    assert len(whole.wav) == len(wav) and not whole.notes
    data = flac_of_a_pipe(data) if is_pipe else data
    try:
        audio = read(data[:-cut])
    except CodecError:
        assert cut > len(data) // 8, "some frames should be left"
        return
    count = len(audio.wav)
    assert 0 < count < len(wav) and count % FLAC_FRAME == 0
    assert torch.equal(audio.wav, whole.wav[:count])
    assert says(audio, "cut short in its last frame" if is_pipe else f"holds {count} of the {len(wav)} samples")
    assert duration_of(io.BytesIO(data[:-cut])) == count / rate


def test_the_seconds_of_a_flac_cut_between_frames_are_those_that_can_be_read():
    data = encoded(make_speech(2.0), format="FLAC")
    whole = read(data).wav
    header = data[data.index(b"\xff\xf8") :][:4]
    cut = data[: data.rindex(header)]
    assert duration_of(io.BytesIO(cut)) == len(read(cut).wav) / 16_000 < len(whole) / 16_000


def test_a_damaged_flac_is_refused():
    data = bytearray(encoded(make_speech(2.0), format="FLAC"))
    data[len(data) // 2 : len(data) // 2 + 9_000] = bytes(9_000)
    with pytest.raises(CodecError, match="cut short or damaged .* get the whole file"):
        read(bytes(data))


def test_mp3_in_wav_is_whole():
    frames = vbr_mp3(WAV, WAV)
    assert len(read(mp3_in_wav(frames)).wav) == frames_of(frames) * FRAME


class Forking(io.BytesIO):
    """A file that forks a process, which goes on living, in the middle of being read."""

    child = 0

    def read(self, count=-1):
        if self.tell() > 200_000 and not self.child:
            self.child = os.fork()
            if not self.child:
                time.sleep(60)
                os._exit(0)
        return super().read(count)


def test_a_process_forked_meanwhile_does_not_keep_the_reader_waiting():
    data = 60 * mp3(WAV, tag=False)
    file = Forking(data)
    audio = load_audio(file)
    assert file.child
    assert os.waitpid(file.child, os.WNOHANG) == (0, 0), "the child should still live"
    os.kill(file.child, signal.SIGKILL)
    os.waitpid(file.child, 0)
    assert len(audio.wav) == len(read(data).wav)


def test_an_ogg_cut_in_a_page_says_so():
    audio = read(encoded(WAV, format="OGG")[:-300])
    assert 0 < len(audio.wav) < SAMPLES
    assert says(audio, "cut short in the middle of a page")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 2**32 - 1), st.sampled_from(range(8)))
def test_damaged_headers_never_do_more_than_refuse(noise, size, which):
    """Whatever sizes and bytes they hold, reading ends, with samples or a CodecError."""
    heads = [b"RIFF", b"RF64", b"FORM", b"caff", b"riff.\x91\xcf\x11", b".snd", b"OggS", b"ID3\x04\0\0"]
    data = heads[which] + struct.pack("<I", size) + noise
    try:
        read(data)
    except CodecError:
        pass


@pytest.mark.parametrize("verify", [True, False])
def test_the_seconds_of_a_file_are_those_that_can_be_read(verify):
    wav, flac = encoded(WAV, format="WAV", subtype="PCM_16"), encoded(WAV, format="FLAC")
    for data in (
        wav, wav[:-2_000], wav + wav, with_sizes(wav, 0, 0), flac, flac_of_a_pipe(flac), flac + flac, mp3(WAV),
        mp3(WAV)[:-500], mp3(WAV, tag=False), vbr_mp3(WAV, WAV), 2 * encoded(WAV, format="OGG"),
        encoded(WAV, format="OGG"),
    ):  # fmt: skip
        seconds = duration_of(io.BytesIO(data), verify)
        assert seconds == len(read(data).wav) / 16_000


def test_what_was_found_about_the_length_is_told(capfd, tmp_path, tiny_model_dir):
    path = tmp_path / "cut.wav"
    path.write_bytes(encoded(WAV, format="WAV", subtype="PCM_16")[:-2_000])
    result = run_ok(capfd, "encode", path, "-m", tiny_model_dir)
    assert f"note: {path}: holds {SAMPLES - 1_000} of the {SAMPLES} samples" in result.err
    folder = run_ok(capfd, "encode", tmp_path, tmp_path / "out", "-m", tiny_model_dir)
    assert f"note: {path}: holds {SAMPLES - 1_000} of the {SAMPLES} samples" in folder.err


def test_enough_bytes_are_looked_at_for_two_frames_of_any_bitrate():
    sizes = [
        frame.size
        for second in range(0xE0, 0x100)
        for third in range(0x100)
        if (frame := mpeg_frame(bytes([0xFF, second, third, 0])))
    ]
    assert len(sizes) > 400
    assert max(sizes) + 4 <= MPEG_BYTES
