"""What people give to the command: strange names, folders of everything, pipes, globs, a full disk."""

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from command import run, run_ok
from conftest import make_speech

import codec
from codec.model.codec import Codec
from codec.model.files import find_model

COMMAND = [sys.executable, "-c", "import sys; from codec.cli import main; sys.exit(main())"]


def shell(script: str, **paths: object) -> subprocess.CompletedProcess:
    """A bash script, in which ``codec`` is the command and the paths are variables."""
    quoted = f"codec() {{ {sys.executable} -c 'import sys; from codec.cli import main; sys.exit(main())' \"$@\"; }}\n"
    environment = {**os.environ, **{name: str(path) for name, path in paths.items()}}
    return subprocess.run(["bash", "-c", quoted + script], env=environment, capture_output=True, check=False)


def one_line(result: subprocess.CompletedProcess, words: str) -> None:
    assert result.returncode == 1, result.stderr
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("codec: error: ")
    assert words in lines[0]


def recording(path: Path, seconds: float = 0.1) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path if path.suffix else path.with_suffix(".wav")
    soundfile.write(os.fsencode(file), make_speech(seconds), 16_000)
    if file != path:
        file.rename(path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def everything(tmp_path) -> Path:
    """A folder with two recordings and all that is passed over in silence elsewhere."""
    folder = tmp_path / "in"
    recording(folder / "a.wav")
    recording(folder / "deep" / "b.wav")
    recording(folder / "no_suffix")
    for name in ("memo.m4a", "call.webm", "notes.txt", ".hidden.wav"):
        (folder / name).write_bytes(b"whatever")
    os.mkfifo(folder / "pipe.wav")
    return folder


def test_a_folder_lists_the_skipped_files(capfd, tmp_path, everything, tiny_model_dir):
    result = run_ok(capfd, "encode", everything, tmp_path / "out", "-m", tiny_model_dir)
    assert "2 of 2 files done" in result.err
    line = next(line for line in result.err.splitlines() if "skipped: " in line)
    for words in ("1 .m4a (convert first: ffmpeg", "1 .webm (convert", "1 .txt", "1 hidden", "special file",
                  "1 without a suffix", "memo.m4a", "no_suffix"):  # fmt: skip
        assert words in line


def test_a_folder_of_other_things_says_so_too(capfd, tmp_path, tiny_model_dir):
    (tmp_path / "memo.m4a").write_bytes(b"whatever")
    result = run(capfd, "encode", tmp_path, "-m", tiny_model_dir)
    assert result.status == 1
    assert "no audio files in this folder" in result.error_lines[0]
    assert "1 .m4a (convert first: ffmpeg -i IN OUT.wav)" in result.error_lines[0]


def test_linked_folders_are_followed_once(capfd, tmp_path, tiny_model_dir):
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    recording(folder / "z" / "real.wav")
    recording(elsewhere / "far.wav")
    (folder / "a_link").symlink_to(folder / "z")
    (folder / "loop").symlink_to(folder)
    (folder / "other").symlink_to(elsewhere)
    result = run_ok(capfd, "encode", folder, tmp_path / "out", "-m", tiny_model_dir)
    assert names(tmp_path / "out") == ["other/far.pt", "z/real.pt"]
    assert "2 linked folder(s) that are in the tree already" in result.err


def test_what_may_not_be_read_is_an_error(capfd, tmp_path, everything, tiny_model_dir, monkeypatch):
    (everything / "dead.wav").symlink_to(tmp_path / "nowhere")
    locked, scandir = everything / "locked", os.scandir
    locked.mkdir()

    def guarded(path="."):
        if Path(path) == locked:  # the tests may run as root, whom nothing is forbidden
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    result = run(capfd, "encode", everything, tmp_path / "out", "-m", tiny_model_dir)
    assert result.status == 1
    assert names(tmp_path / "out") == ["a.pt", "deep/b.pt"]
    assert result.error_lines == [
        f"codec: error: {everything / 'dead.wav'}: cannot be read (a link to nothing)",
        f"codec: error: {locked}: cannot be read (permission denied)",
    ]


def test_names_that_are_not_utf8_are_files_like_others(capfd, tmp_path, tiny_model_dir):
    folder = tmp_path / "in"
    for name in (b"caf\xe9.wav", b"b.wav", b"two\nlines.wav", b"\x1b[31mred.wav"):
        recording(folder / os.fsdecode(name))
    result = run_ok(capfd, "encode", folder, tmp_path / "out", "-m", tiny_model_dir)
    assert "4 of 4 files done" in result.err
    assert b"caf\xe9.pt" in os.listdir(os.fsencode(tmp_path / "out"))
    odd = tmp_path / "out" / os.fsdecode(b"caf\xe9.pt")
    run_ok(capfd, "decode", odd, "-m", tiny_model_dir)
    assert "caf" in run_ok(capfd, "info", odd).out
    alone = run(capfd, "encode", folder / os.fsdecode(b"\x1b[31mred.wav"), tmp_path / "none" / "x.pt")
    assert "\x1b" not in alone.err


@pytest.mark.parametrize(
    "problem", [RuntimeError("unexpected pos 960 vs 854"), UnicodeError("odd"), MemoryError()]
)
def test_one_strange_file_never_ends_the_others(capfd, tmp_path, tiny_model_dir, monkeypatch, problem):
    for number in range(4):
        recording(tmp_path / "in" / f"{number}.wav", 0.1 + number / 10)
    encode = Codec.encode

    def strange(self, wav, **options):
        if len(wav.wav) == 3_200:
            raise problem
        return encode(self, wav, **options)

    monkeypatch.setattr(Codec, "encode", strange)
    result = run(capfd, "encode", tmp_path / "in", tmp_path / "out", "-m", tiny_model_dir)
    assert result.status == 1
    assert "3 of 4 files done" in result.err
    assert len(result.error_lines) == 1
    assert f"{tmp_path / 'in' / '1.wav'}: {type(problem).__name__}" in result.error_lines[0]
    assert names(tmp_path / "out") == ["0.pt", "2.pt", "3.pt"]


@pytest.mark.parametrize("target", ["out.pt", "out.rvq", "folder"])
def test_a_full_disk_is_told_with_the_users_path(tmp_path, tiny_model_dir, target):
    """As under a limit on the size of files, which the system reports as it reports a full disk."""
    source = recording(tmp_path / "in" / "speech.wav", 4.0)
    path = tmp_path / target
    (tmp_path / "folder").mkdir()
    given = source.parent if target == "folder" else source
    result = subprocess.run(
        [*COMMAND, "encode", given, path, "-m", tiny_model_dir],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300)),
        capture_output=True,
        check=False,
    )
    assert result.returncode == 1
    last = result.stderr.decode().splitlines()[-1]
    written = path / "speech.pt" if target == "folder" else path
    assert last.startswith(f"codec: error: {written}: cannot be written (file too large)")
    assert names(tmp_path) == ["in/speech.wav"]


def test_a_full_standard_output_is_told(tmp_path, tiny_model_dir):
    source = recording(tmp_path / "speech.wav")
    result = shell('codec encode "$source" - -m "$model" > /dev/full', source=source, model=tiny_model_dir)
    one_line(result, "standard output: cannot be written (no space left on device)")
    pcm, stream = tmp_path / "speech.pcm", tmp_path / "speech.crvs"
    pcm.write_bytes(bytes(32_000))
    paths = {"pcm": pcm, "stream": stream, "model": tiny_model_dir}
    shell('codec stream encode -m "$model" < "$pcm" > "$stream"', **paths)
    for command in ('encode -m "$model" < "$pcm"', 'decode -m "$model" < "$stream"'):
        result = shell(f"codec stream {command} > /dev/full", **paths)
        assert result.stderr.splitlines()[-1].startswith(b"codec: error: standard output: cannot be written (no space left")


def test_a_second_run_passes_over_what_is_done(capfd, tmp_path, tiny_model_dir):
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in ("a.wav", "b.wav"):
        recording(folder / name)
    command = ("encode", folder, out, "-m", tiny_model_dir)
    run_ok(capfd, *command)
    again = run(capfd, *command)
    assert again.status == 1 and "note: 2 outputs existed before; --skip-existing leaves them" in again.err
    recording(folder / "c.wav")
    (out / "a.pt").write_bytes(b"precious")
    result = run_ok(capfd, *command, "--skip-existing")
    assert "1 of 3 files done, 2 were there already" in result.err
    assert (out / "a.pt").read_bytes() == b"precious"
    assert names(out) == ["a.pt", "b.pt", "c.pt"]
    one = run_ok(capfd, "encode", folder / "a.wav", out / "a.pt", "-m", tiny_model_dir, "--skip-existing")
    assert f"{out / 'a.pt'}: exists already, skipped" in one.err
    run_ok(capfd, "decode", out / "b.pt", out / "b.wav", "-m", tiny_model_dir)
    run_ok(capfd, "decode", out / "b.pt", out / "b.wav", "-m", tiny_model_dir, "--skip-existing")
    both = run(capfd, *command, "--skip-existing", "--overwrite")
    assert "contradict each other" in both.error_lines[0]


def test_an_unquoted_glob_is_a_list_of_inputs(capfd, tmp_path, tiny_model_dir):
    files = [recording(tmp_path / name) for name in ("a.wav", "b.wav", "c.flac")]
    model = ("-m", tiny_model_dir)
    run_ok(capfd, "encode", *files[:2], *model)
    assert names(tmp_path) == ["a.pt", "a.wav", "b.pt", "b.wav", "c.flac"]
    run_ok(capfd, "encode", *files, tmp_path / "out", *model)
    assert names(tmp_path / "out") == ["a.pt", "b.pt", "c.pt"]
    tokens = sorted((tmp_path / "out").iterdir())
    run_ok(capfd, "decode", *tokens, tmp_path / "sound", *model)
    assert names(tmp_path / "sound") == ["a.wav", "b.wav", "c.wav"]
    run_ok(capfd, "decode", *tokens, *model, "--format", "flac")
    assert len(names(tmp_path / "out")) == 6
    for words, *arguments in (
        ("no such file or folder", *files, tmp_path / "missing.wav"),
        ("names one file; several inputs need a folder", *files, tmp_path / "all.pt"),
        ("do not fit into standard output", *files, "-"),
        ("standard input (-) cannot be one of several", files[0], "-", tmp_path / "out"),
        ("an empty name", files[0], "", tmp_path / "out"),
    ):
        result = run(capfd, "encode", *arguments, *model)
        assert result.status == 1
        assert words in result.error_lines[0]


@pytest.mark.parametrize(
    "command", [["encode", ""], ["decode", ""], ["info", ""], ["encode", "a.wav", "-m", ""]]
)
def test_an_empty_name_is_not_the_current_folder(capfd, tmp_path, monkeypatch, command):
    recording(tmp_path / "a.wav")
    monkeypatch.chdir(tmp_path)
    result = run(capfd, *command)
    assert result.status == 1
    assert "an empty name" in result.error_lines[0]
    assert names(tmp_path) == ["a.wav"]


@pytest.mark.parametrize("length", [243, 251])
def test_long_names(capfd, tmp_path, tiny_model_dir, length):
    source = recording(tmp_path / ("n" * (length - 4) + ".wav"))
    run_ok(capfd, "encode", source, "-m", tiny_model_dir)
    run_ok(capfd, "decode", source.with_suffix(".pt"), tmp_path / "out.wav", "-m", tiny_model_dir)
    too_long = run(capfd, "encode", source, tmp_path / ("n" * 260 + ".pt"), "-m", tiny_model_dir)
    assert "cannot be written (file name too long)" in too_long.error_lines[0]


def test_process_substitution_and_closed_streams(tmp_path, tiny_model, tiny_model_dir):
    source = recording(tmp_path / "speech.wav", 0.4)
    paths = {"source": source, "model": tiny_model_dir, "out": tmp_path}
    shell('codec encode <(cat "$source") "$out/a.pt" -m "$model"', **paths)
    assert torch.equal(
        codec.load_tokens(tmp_path / "a.pt").codes, tiny_model.encode(codec.load_audio(source).wav).codes
    )
    result = shell('codec decode <(cat "$out/a.pt") "$out/a.wav" -m "$model"', **paths)
    assert result.returncode == 0, result.stderr
    assert soundfile.info(tmp_path / "a.wav").frames == 6_400
    one_line(shell('codec decode <(cat "$out/a.pt") -m "$model"', **paths), "name an output")
    told = shell('codec info <(cat "$out/a.pt"); codec info "$out/a.pt"', **paths).stdout.decode().splitlines()
    assert told[1 : len(told) // 2] == told[len(told) // 2 + 1 :] and "bytes" in told[1]
    one_line(shell("codec info <(echo junk)", **paths), "not a token file: neither .rvq nor .pt")
    one_line(shell('codec encode - "$out/b.pt" -m "$model" <&-', **paths), "standard input is closed")
    one_line(shell('codec decode "$out/a.pt" - -m "$model" >&-', **paths), "standard output is closed")
    one_line(shell('codec stream decode -m "$model" <&-', **paths), "standard input is closed")
    quiet = shell('codec encode "$source" - -m "$model" 2>&-', **paths)
    assert quiet.returncode == 0
    assert quiet.stdout.startswith(b"PK")
    assert not (tmp_path / "b.pt").exists()


@pytest.mark.parametrize("seconds", [0.02, 0.3, 0.3137])
def test_a_kept_token_stream_is_decoded_like_the_live_one(capfd, tmp_path, tiny_model_dir, seconds):
    source = recording(tmp_path / "speech.wav", seconds)
    kept, paths = tmp_path / "speech.crvs", {"out": tmp_path, "model": tiny_model_dir}
    pcm = (soundfile.read(source)[0] * 32_768).astype("<i2").tobytes()
    (tmp_path / "speech.raw").write_bytes(pcm)
    shell('codec stream encode -m "$model" < "$out/speech.raw" > "$out/speech.crvs"', **paths)
    live = shell('codec stream decode -m "$model" < "$out/speech.crvs"', **paths).stdout
    run_ok(capfd, "decode", kept, tmp_path / "out.wav", "-m", tiny_model_dir)
    assert np.array_equal(soundfile.read(tmp_path / "out.wav", dtype="int16")[0], np.frombuffer(live, "<i2"))
    assert codec.load_tokens(kept).num_samples == len(pcm) // 2
    assert "codebooks x" in run_ok(capfd, "info", kept).out
    run_ok(capfd, "decode", tmp_path, tmp_path / "folder", "-m", tiny_model_dir)
    assert names(tmp_path / "folder") == ["speech.wav"]
    for data, words in (
        (kept.read_bytes()[:-1], "cut short"),
        (kept.read_bytes() * 2, "something follows the end"),
    ):
        kept.write_bytes(data)
        result = run(capfd, "decode", kept, tmp_path / "bad.wav", "-m", tiny_model_dir)
        assert result.error_lines[0].startswith(f"codec: error: {kept}: ")
        assert words in result.error_lines[0]


def test_a_folder_named_like_a_shipped_model_does_not_win(tmp_path, tiny_model_dir, monkeypatch):
    shipped = find_model("default")
    shutil.copytree(tiny_model_dir, tmp_path / "default")
    shutil.copytree(tiny_model_dir, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert find_model("default") == shipped
    for local in ("./default", Path("default"), str(tmp_path / "default"), "mine"):
        assert find_model(local).resolve().parent == tmp_path.resolve()


@pytest.mark.parametrize("command", [[], ["encode"], ["stream"], ["stream", "encode"], ["eval"], ["bench"]])
def test_a_short_option_for_help(capfd, command):
    short, long = run_ok(capfd, *command, "-h"), run_ok(capfd, *command, "--help")
    assert "Usage" in short.out
    assert short.out == long.out


def test_an_interruption_says_one_line(tmp_path, tiny_model_dir):
    source = recording(tmp_path / "speech.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "from codec.cli import main; sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        code,
        "encode",
        tmp_path / "pipe.wav",
        tmp_path / "t.pt",
        "-m",
        tiny_model_dir,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    with (tmp_path / "pipe.wav").open("wb") as pipe:  # opens when the command waits for it
        pipe.write(source.read_bytes()[:1_000])
        pipe.flush()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.decode().splitlines() == ["codec: error: interrupted; nothing was left half written"]
    assert names(tmp_path) == ["speech.wav"]


def test_mixed_channels_that_cancel_are_told(capfd, tmp_path, tiny_model_dir):
    wav = make_speech(0.2)
    soundfile.write(tmp_path / "stereo.wav", np.stack([wav, -wav], axis=1), 16_000)
    result = run_ok(capfd, "encode", tmp_path / "stereo.wav", "-m", tiny_model_dir)
    assert "2 channels cancel each other in the mix" in result.err
