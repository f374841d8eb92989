"""The README's ``bash`` and ``python`` blocks run; ``console`` blocks set up a machine and are not run.

They run with the shipped model where there is one, and with a tiny one in its place where not.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, tiny_model_dir) -> Path:
    """A folder with what the examples take for granted: a recording and a folder of two."""
    folder = tmp_path_factory.mktemp("readme")
    speech = ROOT / "codec" / "assets" / "speech.flac"
    subprocess.run(
        [sys.executable, "-c", "import sys, soundfile as s; s.write('in.wav', *s.read(sys.argv[1]))", speech],
        cwd=folder,
        check=True,
    )
    (folder / "recordings" / "more").mkdir(parents=True)
    for name in ("a.wav", "more/b.wav"):
        shutil.copy(folder / "in.wav", folder / "recordings" / name)
    if not (ROOT / "checkpoints" / "default" / "config.json").is_file():
        shutil.copytree(tiny_model_dir, folder / "default")
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """The environment with a ``codec`` command that is this source tree."""
    bin_folder = tmp_path_factory.mktemp("bin")
    command = bin_folder / "codec"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom codec.cli import main\nsys.exit(main())\n")
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def test_there_are_blocks_of_each_kind():
    assert {"console", "bash", "python"} == {language for language, _ in BLOCKS}


@pytest.mark.parametrize(
    ("language", "source"), [block for block in BLOCKS if block[0] in ("bash", "python")], ids=lambda x: x[:6]
)
def test_a_block_runs(workshop, environment, language, source):
    command = (
        ["bash", "-euo", "pipefail", "-c", source] if language == "bash" else [sys.executable, "-c", source]
    )
    result = subprocess.run(
        command, cwd=workshop, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    if language == "bash":
        made = {path.relative_to(workshop).as_posix() for path in workshop.rglob("*") if path.is_file()}
        expected = {"tokens.pt", "out.wav", "small.rvq", "stream.pt", "tokens/a.rvq", "tokens/more/b.rvq"}
        assert expected | {"decoded/a.wav", "decoded/more/b.wav"} <= made
        assert (workshop / "stream.pt").stat().st_size == (workshop / "tokens.pt").stat().st_size


def test_local_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
