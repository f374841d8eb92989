"""The command line on generated speech."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
import torch
from command import run, run_ok
from conftest import make_speech

import codec
from codec.cli.info import _count
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.quantizers.base import read_quantizer_config


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def recordings(tmp_path) -> Path:
    """A folder of three recordings in a tree, beside things that are none."""
    folder = tmp_path / "recordings"
    for name, seconds in (("a.wav", 0.3), ("one/b.flac", 0.2), ("one/two/c.ogg", 0.1)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, make_speech(seconds), 16_000)
    (folder / "notes.txt").write_text("no sound")
    (folder / ".hidden.wav").write_text("no sound")
    return folder


@pytest.mark.parametrize("suffix", [".pt", ".rvq"])
def test_files_give_what_the_api_gives(capfd, tmp_path, speech_file, tiny_model, tiny_model_dir, suffix):
    tokens, decoded = tmp_path / f"tokens{suffix}", tmp_path / "decoded.wav"
    run_ok(capfd, "encode", speech_file, tokens, "-m", tiny_model_dir)
    run_ok(capfd, "decode", tokens, decoded, "-m", tiny_model_dir)
    wav = codec.load_audio(speech_file).wav
    expected = tiny_model.encode(wav)
    assert torch.equal(codec.load_tokens(tokens).codes, expected.codes)
    result = codec.load_audio(decoded)
    assert result.sample_rate == 16_000
    assert result.wav.shape == wav.shape
    torch.testing.assert_close(result.wav, tiny_model.decode(expected)[0], atol=2**-15, rtol=0)


def test_outputs_without_a_name_go_beside_their_inputs(capfd, tmp_path, speech_file, tiny_model_dir):
    run_ok(capfd, "encode", speech_file, "-m", tiny_model_dir)
    run_ok(capfd, "encode", speech_file, "-m", tiny_model_dir, "--format", "rvq")
    run_ok(capfd, "decode", speech_file.with_suffix(".pt"), "-m", tiny_model_dir)
    assert tree(tmp_path) == ["speech.decoded.wav", "speech.pt", "speech.rvq", "speech.wav"]


@pytest.mark.parametrize("count", [1, 5, 8])
def test_fewer_codebooks(capfd, tmp_path, speech_file, tiny_model, tiny_model_dir, count):
    tokens = tmp_path / "tokens.rvq"
    run_ok(capfd, "encode", speech_file, tokens, "-m", tiny_model_dir, "--codebooks", count)
    full = tiny_model.encode(codec.load_audio(speech_file).wav)
    assert torch.equal(codec.load_tokens(tokens).codes, full.codes[:, :count])
    run_ok(capfd, "decode", tokens, tmp_path / "a.wav", "-m", tiny_model_dir)
    codec.save_tokens(tmp_path / "full.pt", full, tiny_model)
    run_ok(
        capfd, "decode", tmp_path / "full.pt", tmp_path / "b.wav", "-m", tiny_model_dir, "--codebooks", count
    )
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_folder_keeps_its_tree(capfd, tmp_path, recordings, tiny_model_dir):
    run_ok(capfd, "encode", recordings, tmp_path / "tokens", "-m", tiny_model_dir, "--format", "rvq")
    assert tree(tmp_path / "tokens") == ["a.rvq", "one/b.rvq", "one/two/c.rvq"]
    run_ok(capfd, "decode", tmp_path / "tokens", tmp_path / "out", "-m", tiny_model_dir, "--format", "flac")
    assert tree(tmp_path / "out") == ["a.flac", "one/b.flac", "one/two/c.flac"]
    assert soundfile.info(tmp_path / "out/one/b.flac").frames == 3_200


def test_a_glob_keeps_the_tree_below_its_fixed_part(capfd, tmp_path, recordings, tiny_model_dir):
    run_ok(capfd, "encode", recordings / "one" / "**" / "*.*", tmp_path / "tokens", "-m", tiny_model_dir)
    assert tree(tmp_path / "tokens") == ["b.pt", "two/c.pt"]


def test_a_folder_goes_on_past_bad_files_and_lists_them(capfd, tmp_path, recordings, tiny_model_dir):
    (recordings / "one" / "bad.wav").write_text("no sound at all")
    (recordings / "worse.flac").write_bytes(b"")
    result = run(capfd, "encode", recordings, tmp_path / "tokens", "-m", tiny_model_dir)
    assert result.status == 1
    assert len(result.error_lines) == 2
    assert str(recordings / "one" / "bad.wav") in result.error_lines[0]
    assert str(recordings / "worse.flac") in result.error_lines[1]
    assert "3 of 5 files done" in result.err
    assert tree(tmp_path / "tokens") == ["a.pt", "one/b.pt", "one/two/c.pt"]


def test_two_inputs_never_share_an_output(capfd, tmp_path, recordings, tiny_model_dir):
    soundfile.write(recordings / "a.flac", make_speech(0.1), 16_000)
    result = run(capfd, "encode", recordings, tmp_path / "tokens", "-m", tiny_model_dir)
    assert result.status == 1
    assert "would both become" in result.error_lines[0]
    assert not (tmp_path / "tokens").exists()


def test_existing_files_are_kept_without_overwrite(capfd, tmp_path, speech_file, tiny_model_dir):
    target = tmp_path / "tokens.pt"
    target.write_text("precious")
    result = run(capfd, "encode", speech_file, target, "-m", tiny_model_dir)
    assert result.status == 1
    assert "exists already; pass --overwrite" in result.error_lines[0]
    assert target.read_text() == "precious"
    run_ok(capfd, "encode", speech_file, target, "-m", tiny_model_dir, "--overwrite")
    assert codec.load_tokens(target).num_codebooks == 8


@pytest.mark.parametrize("stop", ["Ctrl-C", "kill", "crash"])
def test_a_run_that_stops_leaves_nothing(capfd, tmp_path, speech_file, tiny_model_dir, monkeypatch, stop):
    seen = []

    def interrupted(*arguments, **options):
        seen.extend(tree(tmp_path))
        if stop == "kill":
            os.kill(os.getpid(), signal.SIGTERM)
        raise KeyboardInterrupt if stop == "Ctrl-C" else OSError(28, "No space left on device")

    monkeypatch.setattr(Codec, "encode", interrupted)
    target = tmp_path / "tokens.pt"
    target.write_text("precious")
    command = ("encode", speech_file, target, "-m", tiny_model_dir, "--overwrite")
    if stop == "kill":
        with pytest.raises(SystemExit) as exit_info:
            run(capfd, *command)
        assert exit_info.value.code == 128 + signal.SIGTERM
    else:
        assert run(capfd, *command).status == {"Ctrl-C": 130, "crash": 1}[stop]
    assert len(seen) == 3, "the work should have begun with a temporary file"
    assert tree(tmp_path) == ["speech.wav", "tokens.pt"]
    assert target.read_text() == "precious"


def test_ctrl_c_says_that_the_same_command_resumes_where_it_does(capfd, tmp_path, recordings, monkeypatch):
    from codec.cli import prepare

    def interrupted(path, clips):
        raise KeyboardInterrupt

    command = ("prepare", f"source={recordings}", f"output={tmp_path / 'manifest.jsonl'}")
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write_manifest", interrupted)
        result = run(capfd, *command)
    assert result.status == 130
    assert result.error_lines[-1] == "codec: error: interrupted; nothing was left half written; the same command resumes"
    run_ok(capfd, *command)
    assert len((tmp_path / "manifest.jsonl").read_text().splitlines()) == 3


def test_standard_input_and_output(speech_file, tiny_model, tiny_model_dir):
    command = [sys.executable, "-c", "import sys; from codec.cli import main; sys.exit(main())"]
    encode = [*command, "encode", "-", "-", "--format", "rvq", "-m", tiny_model_dir]
    tokens = subprocess.run(encode, input=speech_file.read_bytes(), capture_output=True, check=True)
    assert tokens.stdout.startswith(b"CRVQ")
    decode = [*command, "decode", "-", "-", "-m", tiny_model_dir]
    sound = subprocess.run(decode, input=tokens.stdout, capture_output=True, check=True)
    assert sound.stdout.startswith(b"RIFF")
    wav = codec.load_audio(speech_file).wav
    expected = tiny_model.decode(tiny_model.encode(wav))[0]
    samples = torch.frombuffer(bytearray(sound.stdout[44:]), dtype=torch.int16).float() / 32_768
    torch.testing.assert_close(samples, expected, atol=2**-15, rtol=0)
    broken = subprocess.run(encode, input=b"no sound", capture_output=True, check=False)
    assert broken.returncode == 1
    assert broken.stdout == b""
    assert len(broken.stderr.splitlines()) == 1


@pytest.mark.parametrize("kind", ["rvq", "split_rvq"])
def test_info_counts_the_entries_of_codebooks(kind):
    quantizer = read_quantizer_config({"type": kind, "sizes": [8, 8, 8], "dim": 4})
    model = codec.Codec(CodecConfig(quantizer=quantizer, network={"latent_dim": 6}))
    learned = sum(parameter.numel() for parameter in model.quantizer.parameters())
    assert _count(model.quantizer) == learned + 3 * 8 * 4


def test_info_of_a_model(capfd, tiny_model, tiny_model_dir):
    (tiny_model_dir / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n# Tiny\n")
    out = run_ok(capfd, "info", tiny_model_dir).out
    for words in ("spectral", "16000 Hz", "50 per second", "8 of 1024", "40 ms (640 samples)", "cc-by-4.0"):
        assert words in out
    assert tiny_model.fingerprint in out
    rows = [line.replace("│", " ").split() for line in out.splitlines() if line.startswith("│")]
    assert rows[0] == ["1", "50", "0.5"]
    assert rows[-1] == ["8", "400", "4"]


@pytest.mark.parametrize("suffix", [".pt", ".rvq"])
def test_info_of_tokens(capfd, tmp_path, tiny_model, suffix):
    path = tmp_path / f"tokens{suffix}"
    codec.save_tokens(path, tiny_model.encode(make_speech(2.0)), tiny_model)
    out = run_ok(capfd, "info", path).out
    for words in ("2.000 s, 32000 samples", "8 codebooks x 100 frames", "10 bits", "4 kbps", "0.1.0"):
        assert words in out
    assert tiny_model.fingerprint in out


def test_help_lists_every_command(capfd):
    for arguments in ([], ["--help"]):
        out = run_ok(capfd, *arguments).out
        assert all(name in out for name in ("encode", "decode", "info", "demo", "eval"))
    assert run_ok(capfd, "--version").out.strip() == f"codec {codec.__version__}"


@pytest.mark.parametrize("command", ["demo", "eval"])
def test_a_missing_extra_is_told_in_words(capfd, monkeypatch, command):
    module = {"demo": "codec.demo.run", "eval": "codec.cli.eval"}[command]
    monkeypatch.delitem(sys.modules, module, raising=False)

    def no_extras(name, *rest):
        if name == module:
            raise ModuleNotFoundError("No module named 'judge'", name="judge")

    finder = type("Finder", (), {"find_spec": staticmethod(no_extras)})
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    result = run(capfd, command)
    assert result.status == 1
    assert f"needs the package judge; run: pip install 'codec[{command}]'" in result.error_lines[0]


def test_demo_leaves_its_files_and_prints_its_table(capfd, tmp_path, tiny_model_dir):
    from matplotlib.image import imread

    out = tmp_path / "demo"
    for _ in range(2):
        result = run_ok(capfd, "demo", "--out", out, "-m", tiny_model_dir)
    assert tree(out) == ["decoded.wav", "demo.png", "original.wav", "tokens.pt"]
    original, decoded = (soundfile.info(out / f"{name}.wav") for name in ("original", "decoded"))
    assert 2 < original.duration < 10
    assert decoded.frames == original.frames
    assert codec.load_tokens(out / "tokens.pt").num_samples == original.frames
    picture = imread(out / "demo.png")
    assert picture.shape[0] > 500
    assert picture.std() > 0.05
    for words in ("bitrate", "4 kbps", "frames", "RTF encode", "RTF decode", "mel distance", "STOI"):
        assert words in result.out
