"""``codec stream`` as a filter: round trips, a live loop, and input that is wrong."""

import io
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_speech
from hypothesis import given, settings
from hypothesis import strategies as st
from sound_files import encoded

from codec.audio.delay import resampling_delay
from codec.audio.kinds import StartWatch
from codec.audio.pcm import PcmReader
from codec.cli import main
from codec.errors import CodecError
from codec.tokens.stream import Frame, StreamHeader, StreamReader, StreamWriter

HOP = 320
HEADER = StreamHeader(3, 1_024, 16_000, HOP, "ab", "0")
COMMAND = [sys.executable, "-c", "import sys; from codec.cli import main; sys.exit(main())", "stream"]


@pytest.fixture
def filtered(capfdbinary, monkeypatch):
    """Run ``codec stream`` on bytes: status, bytes, and the lines on standard error."""

    def run(data: bytes, *arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        capfdbinary.readouterr()
        status = main(["stream", *map(str, arguments)])
        out, err = capfdbinary.readouterr()
        return SimpleNamespace(status=status, out=out, lines=err.decode().splitlines())

    return run


def pcm(seconds: float, rate: int = 16_000) -> bytes:
    return (make_speech(seconds, rate) * 32_768).astype("<i2").tobytes()


def frames_of(data: bytes) -> torch.Tensor:
    """``(K, F)`` codes of a token stream."""
    return torch.stack([frame.codes for frame in StreamReader(io.BytesIO(data))], dim=1)


def test_the_tokens_and_the_sound_are_those_of_the_library(filtered, tiny_model, tiny_model_dir):
    data = pcm(0.4567)
    encoded = filtered(data, "encode", "-m", tiny_model_dir)
    assert encoded.status == 0
    assert encoded.lines == ["latency of tokens: 20 ms"]
    tokens = tiny_model.encode(np.frombuffer(data, "<i2").copy())
    assert torch.equal(frames_of(encoded.out), tokens.codes[0])
    decoded = filtered(encoded.out, "decode", "-m", tiny_model_dir, "--format", "f32")
    assert decoded.status == 0
    assert decoded.lines == ["latency of audio after tokens: 20 ms"]
    wav = torch.frombuffer(bytearray(decoded.out), dtype=torch.float32)
    torch.testing.assert_close(wav, tiny_model.decode(tokens)[0], atol=1e-5, rtol=0)
    integers = np.frombuffer(filtered(encoded.out, "decode", "-m", tiny_model_dir).out, "<i2")
    assert np.abs(integers - wav.numpy() * 32_768).max() <= 0.51


def test_what_follows_a_stream_is_refused_after_it_was_decoded(filtered, tiny_model_dir):
    first = filtered(pcm(0.3), "encode", "-m", tiny_model_dir).out
    alone = filtered(first, "decode", "-m", tiny_model_dir)
    joined = filtered(first + first, "decode", "-m", tiny_model_dir)
    assert alone.status == 0 and joined.status == 1
    assert joined.out == alone.out
    assert joined.lines[-1].endswith("decode joined streams one by one")


def test_other_rates_formats_and_fewer_codebooks(filtered, tiny_model, tiny_model_dir):
    wav = make_speech(0.5, 44_100)
    arguments = ["-r", 44_100, "-f", "f32", "-m", tiny_model_dir]
    encoded = filtered(wav.tobytes(), "encode", "-k", 2, "--deterministic", *arguments)
    tokens = tiny_model.encode(wav, 44_100, num_codebooks=2, deterministic=True)
    assert torch.equal(frames_of(encoded.out), tokens.codes[0])
    delay = round(1000 * resampling_delay(44_100, 16_000))
    assert encoded.lines == [f"latency of tokens: 20 ms + up to {delay} ms resampling 44100 to 16000 Hz"]
    decoded = filtered(encoded.out, "decode", "-r", 44_100, "-m", tiny_model_dir)
    assert decoded.status == 0
    assert len(decoded.out) // 2 == len(wav)


def test_resampling_delay_is_not_exceeded_and_zero_without_resampling():
    assert resampling_delay(16_000, 16_000) == 0.0
    assert 0.0 < resampling_delay(48_000, 16_000) < 0.1


def test_a_live_loop_speaks_after_the_stated_latency_and_ends_with_its_input(tiny_model_dir):
    def start(verb: str, source) -> subprocess.Popen:
        command = [*COMMAND, verb, "-m", str(tiny_model_dir)]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=source, stdout=pipe, stderr=subprocess.DEVNULL, bufsize=0)

    encoder = start("encode", subprocess.PIPE)
    decoder = start("decode", encoder.stdout)
    encoder.stdout.close()
    data = pcm(0.25)
    encoder.stdin.write(data[: 2 * 2 * HOP])
    # Two frames in: the first is out, though nothing more has come yet. A block here is a failure.
    first = read_exactly(decoder.stdout, 2 * HOP)
    encoder.stdin.write(data[2 * 2 * HOP :])
    encoder.stdin.close()
    rest = decoder.stdout.read()
    assert len(first) + len(rest) == len(data)
    assert encoder.wait() == decoder.wait() == 0


def read_exactly(file, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = file.read(count - len(data))
        assert piece, "the stream ended early"
        data += piece
    return data


def test_a_reader_that_goes_away_ends_it_without_a_word(tiny_model_dir):
    command = [*COMMAND, "encode", "-m", str(tiny_model_dir)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(4) == b"CRVS"
    process.stdout.close()
    process.stdin.write(pcm(0.3))
    process.stdin.close()
    assert process.stderr.read() == b"latency of tokens: 20 ms\n"
    assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.parametrize(
    ("data", "arguments", "words"),
    [
        (pcm(0.1) + b"x", [], "ended 1 byte into a sample of 2"),
        (bytes(4 * HOP + 3), ["--format", "f32"], "ended 3 bytes into a sample of 4"),
        (b"", [], "no samples came"),
        (np.full(HOP, np.nan, "<f4").tobytes(), ["-f", "f32"], "NaN or infinite"),
        (b"", ["--format", "u8"], "unknown sample format 'u8'; choose s16 or f32"),
        (b"", ["--rate", "10"], "--rate 10 Hz"),
        (b"", ["-k", "9"], "9 codebooks requested"),
    ],
)
def test_wrong_sound_is_one_line(filtered, tiny_model_dir, data, arguments, words):
    result = filtered(data, "encode", "-m", tiny_model_dir, *arguments)
    errors = [line for line in result.lines if not line.startswith("latency")]
    assert result.status == 1
    assert len(errors) == 1 and errors[0].startswith("codec: error: ") and words in errors[0]


def test_half_a_sample_at_the_end_costs_no_other_sample(filtered, tiny_model, tiny_model_dir):
    encoded = filtered(pcm(0.1) + b"x", "encode", "-m", tiny_model_dir)
    assert encoded.status == 1
    assert frames_of(encoded.out).shape == (8, tiny_model.num_frames(1_600))


def file_of(kind: str) -> bytes:
    """An audio file of speech, or tokens."""
    speech = make_speech(0.5)
    if kind == "id3":
        return b"ID3\x04\0\0\0\0\0\x64" + bytes(100) + encoded(speech, format="MP3")
    if kind == "m4a":
        return b"\0\0\0\x1cftypM4A \0\0\2\0" + bytes(1_000)
    if kind == "crvs":
        return b"CRVS\1" + bytes(100)
    return encoded(speech, format={"ogg": "OGG", "mp3": "MP3"}.get(kind, kind.upper()))


@pytest.mark.parametrize(
    "kind", ["wav", "rf64", "w64", "flac", "ogg", "mp3", "id3", "aiff", "au", "caf", "m4a", "crvs"]
)
def test_a_file_is_not_taken_for_raw_samples(filtered, tiny_model_dir, kind):
    """It would become noise. Pieces of any size make no difference."""
    data = file_of(kind)
    result = filtered(data, "encode", "-m", tiny_model_dir)
    errors = [line for line in result.lines if not line.startswith("latency")]
    name = "mp3" if kind == "id3" else kind
    article = "an" if name in ("rf64", "ogg", "mp3", "aiff", "au", "m4a") else "a"
    advice = "codec stream decode" if kind == "crvs" else "use codec encode IN OUT, or pipe it through ffmpeg"
    assert result.status == 1
    assert result.out == b""
    assert len(errors) == 1
    assert f"the input is not raw samples but {article} {name} file; " in errors[0] and advice in errors[0]
    watch, found = StartWatch(), []
    for start in range(0, len(data), 7):
        found.append(watch.feed(data[start : start + 7]))
    assert set(found) - {None} == {name}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-3_000, 3_000), min_size=8, max_size=64), st.sampled_from(["<i2", "<f4"]))
def test_quiet_samples_are_never_taken_for_a_file(samples, type):
    data = (np.array(samples) / (1 if type == "<i2" else 32_768)).astype(type).tobytes()
    assert StartWatch().feed(data) is None
    reader = PcmReader(io.BytesIO(data), {"<i2": "s16", "<f4": "f32"}[type])
    expected = np.array(samples, np.float32) / 32_768
    np.testing.assert_allclose(np.concatenate(list(reader)), expected, atol=1e-7)


def test_wrong_tokens_are_one_line(filtered, tiny_model_dir, other_model_dir):
    good = filtered(pcm(0.1), "encode", "-m", tiny_model_dir).out
    body = good.index(b"}") + 1
    cases = [
        (b"", "no token stream: nothing came"),
        (b"RIFF" + good, "no token stream: this is a wav file; pipe `codec stream encode`"),
        (b"CRVQ" + good, "no token stream: this is an rvq file; decode it with codec decode"),
        (b"\0" * 64, "no token stream: its first bytes are not CRVS"),
        (good[:3], "cut short in its header"),
        (good[:6], "cut short in its header"),
        (good[:4] + b"\x09" + good[5:], "version 9 is unknown"),
        (good[:5] + b"\xff\xff\xff\xff" + good[9:], "a header of 4294967295 bytes"),
        (good[:9] + b"[" + good[10:], "damaged in its header; send it again"),
        (good[:5] + (60_000).to_bytes(4, "little") + b"[" * 60_000, "damaged in its header; send it again"),
        (good[:-1], "cut short after 5 frames"),
        (good[: body + 20], "cut short after 1 frames"),
        (good[: body + 3] + bytes([good[body + 3] ^ 1]) + good[body + 4 :], "damaged after 0 frames"),
        (good.replace(b'"hop_length":320', b'"hop_length":160'), "hop_length 160, the model 320"),
    ]
    for data, words in cases:
        result = filtered(data, "decode", "-m", tiny_model_dir)
        errors = [line for line in result.lines if not line.startswith("latency")]
        assert result.status == 1
        assert len(errors) == 1 and words in errors[0], words
    refused = filtered(good, "decode", "-m", other_model_dir)
    assert refused.status == 1 and "the token stream was made by model" in refused.lines[-1]
    assert filtered(good, "decode", "-m", other_model_dir, "--force").status == 0


def test_a_terminal_is_refused(monkeypatch, tiny_model_dir, capfd):
    terminal = io.TextIOWrapper(io.BytesIO())
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdin", terminal)
    assert main(["stream", "encode", "-m", str(tiny_model_dir)]) == 1
    assert "standard input is a terminal" in capfd.readouterr().err


def test_a_stream_written_and_read_is_the_same():
    file = io.BytesIO()
    writer = StreamWriter(file, HEADER)
    frames = [Frame(torch.tensor([i, 1_023 - i, 512]), HOP if i < 4 else 7) for i in range(5)]
    for frame in frames:
        writer.write(frame)
    writer.end()
    assert len(file.getvalue()) == file.getvalue().index(b"}") + 1 + 5 * (2 + 4 + 2) + 4
    file.seek(0)
    reader = StreamReader(file)
    assert reader.header == HEADER
    for found, expected in zip(reader, frames, strict=True):
        assert torch.equal(found.codes, expected.codes)
        assert found.num_samples == expected.num_samples


def test_nothing_may_follow_a_short_frame():
    file = io.BytesIO()
    writer = StreamWriter(file, HEADER)
    for count in (5, HOP):
        writer.write(Frame(torch.zeros(3, dtype=torch.int64), count))
    file.seek(0)
    with pytest.raises(CodecError, match="damaged after 1 frames"):
        list(StreamReader(file))


def test_headers_out_of_range_are_refused():
    with pytest.raises(CodecError, match="hop_length must be 1 to 65535"):
        StreamHeader(8, 1_024, 16_000, 65_536, "", "")
    with pytest.raises(CodecError, match="num_codebooks must be 1"):
        StreamHeader(0, 1_024, 16_000, 320, "", "")
