"""What someone tries who has read the README alone: folders of everything, wrong names, options next to each other."""

import io
import os
import sys
from pathlib import Path

import pytest
import soundfile
from command import run, run_ok
from conftest import make_speech

from codec.audio.io import AUDIO_SUFFIXES, WRITTEN_SUFFIXES
from codec.cli.embed import find_clips
from codec.data import read_manifest
from codec.data.loading.config import DataConfig
from codec.data.loading.source import training_clips


def recording(path: Path, seconds: float = 0.3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, make_speech(seconds), 16_000)
    return path


@pytest.fixture
def mixed(tmp_path) -> Path:
    """Two recordings, one behind a link and with a text, and files that are no recordings that can be read here."""
    folder = tmp_path / "mixed"
    recording(folder / "a.wav")
    recording(tmp_path / "elsewhere" / "b.aiff")
    (tmp_path / "elsewhere" / "b.txt").write_text("said")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "memo.m4a").write_bytes(b"whatever")
    (folder / "README").write_bytes(b"whatever")
    return folder


def check_note(err: str) -> None:
    """The skipped files are named, and texts of recordings are not among them."""
    (note,) = [line for line in err.splitlines() if line.startswith("note: skipped: ")]
    assert "1 .m4a (convert first: ffmpeg -i IN OUT.wav): " in note and "memo.m4a" in note
    assert "1 without a suffix" in note
    assert ".txt" not in note


def test_tokenize_names_what_it_skips(capfd, mixed, tmp_path, tiny_model_dir):
    result = run_ok(capfd, "tokenize", mixed, tmp_path / "corpus", "-m", tiny_model_dir, "--workers", 1)
    check_note(result.err)
    again = run_ok(capfd, "tokenize", mixed, tmp_path / "corpus", "-m", tiny_model_dir, "--workers", 1)
    assert "skipped: " not in again.err


def test_prepare_names_what_it_skips_and_takes_all_that_can_be_read(capfd, mixed, tmp_path):
    output = tmp_path / "all.jsonl"
    check_note(run_ok(capfd, "prepare", f"source={mixed}", f"output={output}").err)
    assert [(Path(clip.path).name, clip.text) for clip in read_manifest(output)] == [("a.wav", None), ("b.aiff", "said")]


@pytest.mark.parametrize("suffix", WRITTEN_SUFFIXES)
def test_a_manifest_has_files_of_every_suffix_that_encode_finds(capfd, tmp_path, tiny_model_dir, suffix):
    assert suffix in AUDIO_SUFFIXES
    recording(tmp_path / "one.wav")
    run_ok(capfd, "encode", tmp_path / "one.wav", tmp_path / "one.rvq", "-m", tiny_model_dir)
    (tmp_path / "in").mkdir()
    run_ok(capfd, "decode", tmp_path / "one.rvq", tmp_path / "in" / f"again{suffix}", "-m", tiny_model_dir)
    run_ok(capfd, "prepare", f"source={tmp_path / 'in'}", f"output={tmp_path / 'all.jsonl'}")
    assert len(read_manifest(tmp_path / "all.jsonl")) == 1


def test_prepare_names_a_folder_that_may_not_be_read(capfd, mixed, tmp_path):
    (mixed / "gone.wav").symlink_to(tmp_path / "nowhere")
    result = run_ok(capfd, "prepare", f"source={mixed}", f"output={tmp_path / 'all.jsonl'}")
    assert "2 clips" in result.err and "; 1 skipped" in result.err
    assert f"{mixed / 'gone.wav'}: cannot be read (a link to nothing)" in result.err


def test_training_on_a_folder_names_what_it_skips(capfd, mixed):
    (mixed / "broken.wav").write_bytes(b"no sound")
    assert len(training_clips(DataConfig(manifests=(str(mixed),)))) == 2
    err = capfd.readouterr().err
    check_note("\n".join(line for line in err.splitlines() if "broken" not in line))
    assert "note: skipped: broken.wav: not an audio file" in err


def test_embed_names_what_it_skips_and_fails_for_what_may_not_be_read(capfd, mixed, tmp_path):
    result = run_ok(capfd, "embed", mixed, tmp_path / "all.parquet", "-m", "log_mel")
    assert "from 2 clips" in result.err and "memo.m4a" in result.err
    (mixed / "gone.wav").symlink_to(tmp_path / "nowhere")
    clips, unreadable = find_clips(str(mixed))
    assert len(clips) == 2 and unreadable == [f"{mixed / 'gone.wav'}: cannot be read (a link to nothing)"]
    result = run(capfd, "embed", mixed, tmp_path / "again.parquet", "-m", "log_mel")
    assert result.status == 1 and "from 2 clips" in result.err
    assert result.error_lines == [f"codec: error: {unreadable[0]}"]


def test_finetune_names_what_it_skips(capfd, mixed, tmp_path, tiny_model_dir):
    result = run(capfd, "finetune", tiny_model_dir, mixed, "max_steps=none", "-o", tmp_path / "run")
    assert result.status == 1 and "max_steps" in result.error_lines[0]
    assert "memo.m4a" in result.err


def test_a_text_in_another_encoding(capfd, mixed, tmp_path, tiny_model_dir):
    (mixed / "a.txt").write_bytes("café".encode("latin-1"))
    output = tmp_path / "all.jsonl"
    result = run_ok(capfd, "prepare", f"source={mixed}", f"output={output}")
    assert f"a.wav: {mixed / 'a.txt'}: the text is not UTF-8" in result.err
    assert [Path(clip.path).name for clip in read_manifest(output)] == ["b.aiff"]
    result = run(capfd, "tokenize", mixed, tmp_path / "corpus", "-m", tiny_model_dir)
    assert result.status == 1 and len(result.error_lines) == 1
    assert f"{mixed / 'a.txt'}: the text is not UTF-8" in result.error_lines[0]


@pytest.mark.parametrize("command", ["eval", "embed"])
def test_a_recording_under_a_manifests_name(capfd, tmp_path, command):
    sound = recording(tmp_path / "one.wav").rename(tmp_path / "one.jsonl")
    result = run(capfd, command, sound, *(["--out"] if command == "eval" else []), tmp_path / "out.parquet")
    assert result.status == 1
    assert "not a manifest, which is text with a JSON object a line" in result.error_lines[0]


def test_prepare_refuses_a_single_file_before_it_asks_the_hub(capfd, tmp_path, monkeypatch):
    recording(tmp_path / "one.wav")
    monkeypatch.chdir(tmp_path)
    result = run(capfd, "prepare", "source=one.wav", "output=all.jsonl")
    assert result.status == 1 and "one.wav: a single file; name an audio folder" in result.error_lines[0]


def test_a_slash_makes_a_folder(capfd, tmp_path, tiny_model_dir):
    sound = recording(tmp_path / "one.wav")
    run_ok(capfd, "encode", sound, f"{tmp_path}/new/", "-m", tiny_model_dir)
    run_ok(capfd, "decode", tmp_path / "new" / "one.pt", f"{tmp_path}/back/", "-m", tiny_model_dir)
    assert soundfile.info(tmp_path / "back" / "one.wav").frames == soundfile.info(sound).frames
    result = run(capfd, "encode", sound, tmp_path / "none", "-m", tiny_model_dir)
    assert result.status == 1 and f"{tmp_path}/none/ makes it" in result.error_lines[0]
    result = run(capfd, "encode", sound, os.devnull, "-m", tiny_model_dir)
    assert result.status == 1 and "makes it" not in result.error_lines[0]


def test_decode_takes_its_format_or_refuses_it(capfd, tmp_path, tiny_model_dir):
    run_ok(capfd, "encode", recording(tmp_path / "one.wav"), tmp_path / "one.pt", "-m", tiny_model_dir)
    common = (tmp_path / "one.pt", tmp_path / "again.wav", "-m", tiny_model_dir, "-f")
    result = run(capfd, "decode", *common, "flac")
    assert result.status == 1 and "--format flac does not fit this suffix" in result.error_lines[0]
    result = run(capfd, "decode", *common, "xyz")
    assert result.status == 1 and "unknown audio format 'xyz'" in result.error_lines[0]
    assert not (tmp_path / "again.wav").exists()
    run_ok(capfd, "decode", *common, "wav")


def test_decode_writes_its_format_to_standard_output(tmp_path, tiny_model_dir, monkeypatch, capfd):
    run_ok(capfd, "encode", recording(tmp_path / "one.wav"), tmp_path / "one.pt", "-m", tiny_model_dir)
    sink = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", sink)
    run_ok(capfd, "decode", tmp_path / "one.pt", "-", "-f", "flac", "-m", tiny_model_dir)
    assert soundfile.info(io.BytesIO(sink.buffer.getvalue())).format == "FLAC"


def test_info_of_standard_input(capfd, tmp_path, tiny_model_dir, monkeypatch):
    run_ok(capfd, "encode", recording(tmp_path / "one.wav"), tmp_path / "one.pt", "-m", tiny_model_dir)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper((tmp_path / "one.pt").open("rb")))
    named = run_ok(capfd, "info", tmp_path / "one.pt").out.replace(os.fspath(tmp_path / "one.pt"), "standard input")
    assert run_ok(capfd, "info", "-").out.split() == named.split()


@pytest.mark.parametrize("group", ["stream", "corpus", "lm"])
def test_a_group_of_commands_alone_asks_for_one(capfd, group):
    result = run(capfd, group)
    assert result.status == 2
    assert result.error_lines == [f"codec: error: Missing command. (see codec {group} --help)"]


def test_a_baseline_without_its_number(capfd, tmp_path):
    recording(tmp_path / "in" / "one.wav")
    result = run(capfd, "eval", tmp_path / "in", "--baselines", "opus", "--out", tmp_path / "report")
    assert result.error_lines == ["codec: error: baseline opus: expected opus:NUMBER, from 6 to 256"]
