"""``codec eval`` from the command line, and quick scores in memory."""

import json
import os
from pathlib import Path

import pytest
from eval_helpers import bundled_speech, write_clips

from codec.cli.app import main
from codec.data import read_manifest
from codec.errors import CodecError
from codec.eval.quick import score


@pytest.fixture
def manifest(tmp_path):
    wavs = {"a-0": bundled_speech(1.0), "b-0": bundled_speech(1.0, 1.5)}
    return write_clips(tmp_path / "data", wavs)


def test_the_command_writes_a_report(manifest, tmp_path, tiny_model_dir, other_model_dir, capsys):
    out = tmp_path / "report"
    arguments = ["eval", manifest, "--model", tiny_model_dir, "--model", other_model_dir]
    arguments += ["--codebooks", "2,8", "--measures", "si_sdr,mel", "--workers", 0, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    content = json.loads((out / "report.json").read_text())
    labels = [system["label"] for system in content["systems"]]
    assert labels == ["original", "tiny@2", "tiny@8", "other@2", "other@8"]
    said = capsys.readouterr()
    assert "SI-SDR dB" in said.out and "tiny@8" in said.out
    assert "report.html" in said.err
    assert main([str(argument) for argument in arguments]) == 0
    assert "20 measurements were there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--measures", "wer"], "--asr"),
        (["--codebooks", "two"], "1,2,4,8"),
        (["--baselines", "opus:fast"], "from 6 to 256"),
        (["--min-seconds", "60"], "none of 2 clips"),
        (["--codebooks", "99"], "99 codebooks requested; default has 1 to 8"),
        (["--codebooks", "2", "--baselines", "opus:6"], "--codebooks is of our models; name one with --model"),
    ],
)
def test_wrong_options_are_one_line(manifest, tmp_path, capsys, arguments, message):
    assert main(["eval", str(manifest), "--out", str(tmp_path / "report"), *arguments]) != 0
    error = capsys.readouterr().err.strip()
    assert message in error and error.count("\n") == 0


def test_without_models_and_baselines_the_default_model_is_measured(monkeypatch, manifest, tmp_path):
    seen = []
    monkeypatch.setattr("codec.cli.eval._run", lambda plan: seen.append(plan.options.models))
    out = ["--out", str(tmp_path / "report"), "--measures", "mel"]
    assert main(["eval", str(manifest), *out]) == 0
    assert main(["eval", str(manifest), *out, "--baselines", "opus:6"]) == 0
    assert seen == [["default"], []]


def test_a_folder_says_what_was_not_looked_at(manifest, tmp_path, capsys, tiny_model_dir):
    (manifest.parent / "memo.m4a").write_bytes(b"whatever")
    Path(os.fsdecode(os.fsencode(manifest.parent) + b"/caf\xe9.wav")).write_bytes(b"whatever")
    arguments = ["eval", manifest.parent, "--model", tiny_model_dir, "--measures", "mel", "--workers", 0]
    assert main([str(argument) for argument in [*arguments, "--out", tmp_path / "report"]]) == 0
    said = capsys.readouterr().err
    assert "1 .m4a (convert first: ffmpeg -i IN OUT.wav)" in said and "1 with names that are not UTF-8" in said


def test_a_folder_that_is_not_there_is_one_line(tmp_path, capsys):
    assert main(["eval", str(tmp_path / "nofolder")]) == 1
    error = capsys.readouterr().err.strip()
    assert f"{tmp_path / 'nofolder'}: no such manifest or folder; " in error and error.count("\n") == 0


def test_a_manifest_elsewhere_needs_the_folder_that_its_paths_begin_in(manifest, tmp_path, capsys, tiny_model_dir):
    elsewhere = tmp_path / "elsewhere.jsonl"
    elsewhere.write_text(manifest.read_text())
    arguments = ["eval", elsewhere, "--model", tiny_model_dir, "--measures", "mel", "--workers", 0, "--out", tmp_path / "report"]
    arguments = [str(argument) for argument in arguments]
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip()
    assert "a-0.wav: no such recording, nor any other of 2; set root to" in error and error.count("\n") == 0
    assert not (tmp_path / "report").exists()
    assert main([*arguments, "--root", str(manifest.parent)]) == 0
    said = capsys.readouterr()
    assert "tiny@8" in said.out and "skipped" not in said.err


LENGTHS = '''"""A package of somebody else's: how many frames clips have."""
from dataclasses import dataclass

from codec.eval.probes import Measure, ProbeResult


class Lengths:
    resembles = ("mel",)

    @dataclass(frozen=True)
    class Config:
        scale: float = 1.0

    def __init__(self, config):
        self.config = config

    def check(self, task):
        pass

    def run(self, task):
        result = ProbeResult(self.name)
        counts = [coded.codes.shape[1] for coded in task.code(task.clips, result.skipped)]
        mean = self.config.scale * sum(counts) / len(counts)
        result.measures = [Measure("frames", "1", "count", mean, mean, mean, 0.0, "higher", 2, 2, "clip")]
        return result
'''


def test_a_probe_of_another_package_is_used_by_its_name(manifest, tmp_path, tiny_model_dir, monkeypatch, capsys):
    pytest.importorskip("sklearn")
    from codec.eval.probes.registry import PROBES

    (tmp_path / "somebodys.py").write_text(LENGTHS)
    info = tmp_path / "somebodys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[codec.probe]\nlengths = somebodys:Lengths\n")
    assert "lengths" not in PROBES
    monkeypatch.syspath_prepend(tmp_path)
    # Read again, and forgotten afterwards.
    monkeypatch.setattr(PROBES, "_points", None)
    monkeypatch.setattr(PROBES, "_items", dict(PROBES._items))
    arguments = ["eval", manifest, "--model", tiny_model_dir, "--measures", "mel", "--workers", 0]
    arguments = [str(argument) for argument in [*arguments, "--out", tmp_path / "report"]]
    assert main([*arguments, "--probes", "length"]) == 1
    assert "unknown probe 'length'; did you mean 'lengths'?" in capsys.readouterr().err
    assert main([*arguments, "--probes", "lengths"]) == 0
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    (measure,) = content["probes"]["tiny"]["lengths"]["measures"]
    # One second of 50 frames.
    assert (measure["name"], measure["value"]) == ("frames", 50.0)
    # Without metrics the terminal shows what probes found.
    assert "mel distance" in capsys.readouterr().out
    arguments[arguments.index("mel")] = "none"
    assert main([*arguments, "--probes", "lengths"]) == 0
    said = capsys.readouterr().out
    assert "mel" not in said and "50.000" in said


def test_an_empty_manifest_is_one_line(tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text("")
    assert main(["eval", str(tmp_path / "empty.jsonl")]) == 1
    assert "the manifest is empty" in capsys.readouterr().err


def test_quick_scores_agree_with_the_report(manifest, tmp_path, tiny_model, tiny_model_dir):
    out = tmp_path / "report"
    arguments = ["eval", manifest, "--model", tiny_model_dir, "--codebooks", 8]
    arguments += ["--measures", "mel,estoi", "--workers", 0, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    content = json.loads((out / "report.json").read_text())
    figures = content["systems"][1]["figures"]
    quick = score(tiny_model, read_manifest(manifest), ("mel", "estoi"), codebooks=8)
    assert quick["mel_clips"] == 2
    for name in ("mel", "estoi"):
        assert quick[name] == pytest.approx(figures[name]["value"], abs=0.01)
    with pytest.raises(CodecError, match="no clips"):
        score(tiny_model, [])
