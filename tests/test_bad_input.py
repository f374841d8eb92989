"""Input that is wrong: one line that says what and what to do, and nothing left behind."""

import os
import pickle
import stat
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from command import run, run_ok
from conftest import make_speech

import codec


def files_below(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def refused(capfd, folder, words, *arguments) -> None:
    """The command fails with one line holding ``words``, and leaves ``folder`` as it was."""
    before = files_below(folder)
    result = run(capfd, *arguments)
    assert result.status == 1
    assert result.out == ""
    assert len(result.err.splitlines()) == 1, result.err
    assert words in result.error_lines[0]
    assert files_below(folder) == before


def wav_file(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.fixture
def tokens_file(tmp_path, tiny_model) -> Path:
    path = tmp_path / "tokens.rvq"
    codec.save_tokens(path, tiny_model.encode(make_speech(0.3)), tiny_model)
    return path


def spoil(path: Path, kind: str) -> Path:
    """A file that cannot be encoded."""
    speech = make_speech(0.5)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "no samples":
        wav_file(path, np.zeros(0, np.float32))
    elif kind in ("NaN", "Inf"):
        speech[4_000] = float(kind)
        wav_file(path, speech)
    elif kind == "damaged":
        soundfile.write(path, speech, 16_000, format="FLAC")
        data = path.read_bytes()
        path.write_bytes(data[:2_000] + bytes(len(data) - 2_000))
    elif kind == "text":
        path.write_text("The quick brown fox jumps over the lazy dog.\n" * 100)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "empty file (0 bytes); expected an audio file"),
        ("no samples", "has no samples"),
        ("NaN", "holds NaN or infinite samples; repair"),
        ("Inf", "holds NaN or infinite samples; repair"),
        ("damaged", "cut short or damaged (flac decoder lost sync); get the whole file"),
        ("text", "not an audio file that can be read (format not recognised); expected wav"),
    ],
)
def test_sound_files_that_cannot_be_encoded(capfd, tmp_path, tiny_model_dir, kind, words):
    bad = spoil(tmp_path / "bad.wav", kind)
    refused(capfd, tmp_path, f"{bad}: {words}", "encode", bad, tmp_path / "out.pt", "-m", tiny_model_dir)


@pytest.mark.parametrize(
    ("rate", "channels", "samples", "note"),
    [
        (16_000, 1, 1, None),
        (16_000, 8, 4_001, "8 channels mixed down to 1"),
        (3_000, 1, 1_501, "3000 Hz resampled to 16000 Hz, nothing above 1500 Hz"),
        (192_000, 2, 48_001, "2 channels mixed down to 1, 192000 Hz resampled to 16000 Hz"),
        (48_000, 1, 1, "48000 Hz resampled to 16000 Hz"),
    ],
)
def test_unusual_sound_is_taken_with_a_note(capfd, tmp_path, tiny_model_dir, rate, channels, samples, note):
    """One sample, many channels, odd rates: not wrong, so they work, and say what was done."""
    path = tmp_path / "odd.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, (samples, channels)), rate)
    result = run_ok(capfd, "encode", path, tmp_path / "out.pt", "-m", tiny_model_dir)
    notes = [line for line in result.err.splitlines() if line.startswith("note: ")]
    assert [note is not None and note in line for line in notes] == [True] * (note is not None)
    run_ok(capfd, "decode", tmp_path / "out.pt", tmp_path / "out.wav", "-m", tiny_model_dir)
    decoded = soundfile.info(tmp_path / "out.wav")
    assert abs(decoded.frames - samples * 16_000 / rate) <= 1
    assert decoded.frames == max(1, codec.load_tokens(tmp_path / "out.pt").num_samples)


def test_a_folder_without_audio(capfd, tmp_path, tiny_model_dir):
    (tmp_path / "notes.txt").write_text("no sound")
    refused(capfd, tmp_path, "no audio files in this folder", "encode", tmp_path, "-m", tiny_model_dir)


@pytest.mark.parametrize("source", ["missing.wav", "none/*.wav"])
def test_nothing_to_read(capfd, tmp_path, tiny_model_dir, source):
    words = "no file matches" if "*" in source else "no such file or folder"
    refused(capfd, tmp_path, words, "encode", tmp_path / source, "-m", tiny_model_dir)


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("form", ["pickle", "old torch", "zip"])
def test_a_pickle_bomb_is_refused_and_runs_nothing(capfd, tmp_path, tiny_model_dir, form):
    bomb, crater = tmp_path / "tokens.pt", tmp_path / "crater"
    content = {"format": "codec-tokens", "version": 1, "codes": Bomb(crater)}
    if form == "pickle":
        bomb.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, bomb, _use_new_zipfile_serialization=form == "zip")
    refused(capfd, tmp_path, f"{bomb}: refused", "decode", bomb, "-m", tiny_model_dir)
    refused(capfd, tmp_path, f"{bomb}: refused", "info", bomb)
    assert not crater.exists()
    with bomb.open("rb") as file:
        if form == "pickle":
            pickle.load(file)
            assert crater.exists(), "the bomb of this test is a dud"


@pytest.mark.parametrize("damage", ["flipped bit", "cut tail", "half", "empty"])
def test_damaged_rvq(capfd, tmp_path, tiny_model_dir, tokens_file, damage):
    data = bytearray(tokens_file.read_bytes())
    if damage == "flipped bit":
        data[-20] ^= 1
    data = {"cut tail": data[:-1], "half": data[: len(data) // 2], "empty": b""}.get(damage, data)
    tokens_file.write_bytes(data)
    words = "empty file" if damage == "empty" else "damaged or cut short"
    refused(capfd, tmp_path, f"{tokens_file}: {words}", "decode", tokens_file, "-m", tiny_model_dir)


def test_a_damaged_pt(capfd, tmp_path, tiny_model_dir, tiny_model, tokens_file):
    path = tmp_path / "cut.pt"
    codec.save_tokens(path, codec.load_tokens(tokens_file), tiny_model)
    path.write_bytes(path.read_bytes()[:-300])
    refused(capfd, tmp_path, f"{path}: refused", "decode", path, "-m", tiny_model_dir)


@pytest.mark.parametrize("wrong", [1024, -1])
def test_codes_out_of_range(capfd, tmp_path, tiny_model_dir, tiny_model, wrong):
    path = tmp_path / "wrong.pt"
    codec.save_tokens(path, tiny_model.encode(make_speech(0.3)))
    content = torch.load(path, weights_only=True)
    content["codes"][2, 3] = wrong
    torch.save(content, path)
    words = f"code {wrong} is out of range; codes lie in 0..1023"
    refused(capfd, tmp_path, words, "decode", path, "-m", tiny_model_dir)


def test_other_things_named_pt(capfd, tmp_path, tiny_model_dir):
    path = tmp_path / "other.pt"
    for content, words in (
        ({"weight": torch.zeros(3)}, "not a token file"),
        ([1, 2], "not a token file"),
        ({"format": "codec-tokens", "version": 9}, "version 9 is unknown"),
        ({"format": "codec-tokens", "version": 1}, "missing or unknown keys: ['codebook_size', "),
    ):
        torch.save(content, path)
        refused(capfd, tmp_path, words, "decode", path, "-m", tiny_model_dir)
    path.write_bytes(b"RIFF and so on")
    refused(capfd, tmp_path, "neither .rvq nor .pt", "decode", path, "-m", tiny_model_dir)


def test_the_wrong_model_is_refused_and_force_overrides(capfd, tmp_path, tokens_file, other_model_dir):
    command = ("decode", tokens_file, tmp_path / "out.wav", "-m", other_model_dir)
    refused(capfd, tmp_path, "tokens were made by model", *command)
    run_ok(capfd, *command, "--force")
    assert soundfile.info(tmp_path / "out.wav").frames == 4_800


def test_an_unwritable_folder(capfd, tmp_path, speech_file, tiny_model_dir):
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if os.access(folder, os.W_OK):
        folder = Path("/proc/self")  # root may write anywhere but here
    target = folder / "out.pt"
    words = f"{target}: cannot be written"
    refused(capfd, tmp_path, words, "encode", speech_file, target, "-m", tiny_model_dir)


def test_a_missing_folder_and_a_folder_as_file(capfd, tmp_path, speech_file, tiny_model_dir):
    model = ("-m", tiny_model_dir)
    target = tmp_path / "no" / "out.pt"
    refused(capfd, tmp_path, "there is no folder", "encode", speech_file, target, *model)
    (tmp_path / "out.pt").mkdir()
    tree = tmp_path / "tree"
    tree.mkdir()
    wav_file(tree / "a.wav", make_speech(0.1))
    words = "is a file; several inputs need a folder"
    refused(capfd, tmp_path, words, "encode", tree, speech_file, *model)


def test_options_that_do_not_fit(capfd, tmp_path, speech_file, tiny_model_dir):
    target = tmp_path / "out.pt"
    command = ("encode", speech_file, target, "-m", tiny_model_dir)
    for words, *arguments in (
        ("9 codebooks requested; this model has 1 to 8", *command, "--codebooks", 9),
        ("0 codebooks requested", *command, "--codebooks", 0),
        ("unknown device 'gpu'; choose auto, cpu, cuda or mps", *command, "--device", "gpu"),
        ("unknown token format 'npy'; choose pt or rvq", *command, "--format", "npy"),
        ("--format rvq does not fit this suffix", *command, "--format", "rvq"),
        ("token files end in .pt or .rvq", "encode", speech_file, tmp_path / "out.txt"),
        ("no model 'nobody'", "encode", speech_file, target, "-m", "nobody"),
        (".xyz cannot be written as audio", "decode", speech_file, tmp_path / "out.xyz"),
    ):
        refused(capfd, tmp_path, words, *arguments)


def test_a_usage_error_is_one_line(capfd):
    for arguments in (["encode"], ["encode", "--nonsense", "x"], ["frobnicate"], ["info", "a", "b"]):
        result = run(capfd, *arguments)
        assert result.status == 2
        assert len(result.err.splitlines()) == 1
        assert result.error_lines


@pytest.mark.parametrize("damage", ["weights", "config", "no weights"])
def test_a_damaged_model(capfd, tmp_path, speech_file, tiny_model, damage):
    folder = tmp_path / "model"
    codec.save(tiny_model, folder)
    if damage == "no weights":
        (folder / "model.safetensors").unlink()
    elif damage == "weights":
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        config = folder / "config.json"
        config.write_text(config.read_text().replace('"kernel_size"', '"kernel_sise"'))
    words = {
        "weights": "damaged, or not a safetensors file",
        "config": "unknown key 'kernel_sise'; did you mean 'kernel_size'?",
        "no weights": "no such file; a model is config.json + model.safetensors",
    }[damage]
    refused(capfd, tmp_path, words, "encode", speech_file, tmp_path / "out.pt", "-m", folder)
