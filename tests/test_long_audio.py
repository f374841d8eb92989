"""Long recordings: memory that an hour fits into, and chunks that leave no trace.

``CODEC_LONG_SECONDS=3600 pytest tests/test_long_audio.py`` measures a whole hour.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from conftest import make_speech

from codec.model import chunked

HOUR = 3_600
LIMIT = 1.5e9
SECONDS = int(os.environ.get("CODEC_LONG_SECONDS", "600"))
SHORT_SECONDS = 60

# Peak memory never falls, so the short recording goes first and the growth is the long one's.
# On Linux ru_maxrss begins with that of the process that started this one; VmHWM, in kB, does not.
MEASURE = """
import pathlib, re, resource, sys
{setup}
for seconds in ("{short}", "{long}"):
    {work}
    status = pathlib.Path("/proc/self/status")
    own = re.search("VmHWM: *([0-9]+)", status.read_text().replace(chr(9), " ")) if status.is_file() else None
    print(own[1] if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
COMMAND_LINE = """
    path = sys.argv[2] + "/" + seconds
    assert main(["encode", path + ".flac", path + ".rvq", "-m", sys.argv[1]]) == 0
    assert main(["decode", path + ".rvq", path + ".wav", "-m", sys.argv[1]]) == 0
"""
LIBRARY = """
    wav = None  # the recording before must not count
    wav = np.full(int(seconds) * 48_000, 0.1, np.float32)
    assert model.decode(model.encode(wav, sample_rate=48_000)).shape == (1, int(seconds) * 16_000)
"""


def peaks(setup: str, work: str, *arguments) -> tuple[float, float]:
    """Bytes at the peak of the short and of the long recording."""
    script = MEASURE.format(setup=setup, short=SHORT_SECONDS, long=SECONDS, work=work.strip())
    command = [sys.executable, "-c", script, *map(str, arguments)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 1024
    short, long = (unit * float(line) for line in result.stdout.split())
    return short, long


def for_an_hour(short: float, long: float) -> float:
    """Peak bytes of an hour, by the growth from the short recording to the long one."""
    return short + (long - short) * (HOUR - SHORT_SECONDS) / (SECONDS - SHORT_SECONDS)


def write_recording(path, seconds: int) -> None:
    """48 kHz stereo, ten seconds over and over."""
    wav = make_speech(10.0, 48_000)
    stereo = np.stack([wav, 0.5 * wav], axis=1)
    with soundfile.SoundFile(path, "w", 48_000, 2) as file:
        for _ in range(seconds // 10):
            file.write(stereo)


def test_an_hour_at_48_khz_stereo_fits_through_the_command_line(tmp_path, tiny_model_dir):
    for seconds in (SHORT_SECONDS, SECONDS):
        write_recording(tmp_path / f"{seconds}.flac", seconds)
    short, long = peaks("from codec.cli import main", COMMAND_LINE, tiny_model_dir, tmp_path)
    assert soundfile.info(tmp_path / f"{SECONDS}.wav").frames == SECONDS * 16_000
    assert long < LIMIT
    assert for_an_hour(short, long) < LIMIT


def test_an_hour_at_48_khz_fits_through_the_api(tiny_model_dir):
    setup = "import numpy as np, codec\nmodel = codec.load(sys.argv[1], 'cpu')"
    short, long = peaks(setup, LIBRARY, tiny_model_dir)
    assert long < LIMIT
    assert for_an_hour(short, long) < LIMIT


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_chunks_give_the_tokens_and_the_sound_of_the_whole(tiny_model, monkeypatch, chunk):
    wav = make_speech(3.01)
    monkeypatch.setattr(chunked, "CHUNK_FRAMES", 1 << 20)
    whole = tiny_model.encode(wav)
    sound = tiny_model.decode(whole)
    monkeypatch.setattr(chunked, "CHUNK_FRAMES", chunk)
    assert torch.equal(tiny_model.encode(wav).codes, whole.codes)
    torch.testing.assert_close(tiny_model.decode(whole), sound, atol=1e-5, rtol=0)


def test_minutes_in_default_chunks_equal_the_whole(tiny_model, monkeypatch):
    wav = make_speech(90.0)
    tokens = tiny_model.encode(wav)
    assert tokens.lengths[0] > 4 * chunked.CHUNK_FRAMES
    sound = tiny_model.decode(tokens)
    monkeypatch.setattr(chunked, "CHUNK_FRAMES", 1 << 20)
    whole = tiny_model.encode(wav)
    # Float rounding may flip a near-tie: at most one code in 100 000.
    assert (tokens.codes != whole.codes).sum() <= tokens.codes.numel() / 1e5
    torch.testing.assert_close(sound, tiny_model.decode(tokens), atol=1e-5, rtol=0)
