"""The package as a user installs it: a wheel in an environment of its own prepares, extracts, trains and encodes."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
import soundfile
from conftest import make_speech

pytest.importorskip("hatchling")
pytest.importorskip("accelerate")

from tiny_teachers import save_hubert

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """
base: tiny
output: run
data: {manifests: [m.jsonl], crop_frames: 20, batch_size: 2, cache: audio}
teachers: {lm: null, sm: {features: features, extract: null}}
words: null
losses: {distill_lm: null}
quantizer: {init_steps: 3, init_vectors: 256}
tracker: none
max_steps: 20
sample_every: 0
"""


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Path of ``codec`` in a new environment, whose only package of its own is the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = folder.glob("codec-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = next((folder / "env").glob("[bS]*/python*"))
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *install], check=True)
    own = next((folder / "env").glob("lib*/**/site-packages"))
    # What else is installed here, without the link to this checkout, which stands in a file of its own.
    (own / "others.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return python.with_name("codec")


def run(command: Path, folder: Path, *arguments: object) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    result = subprocess.run(
        [command, *map(str, arguments)],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout + result.stderr


def test_a_wheel_in_an_empty_folder_goes_all_the_way(command, tmp_path):
    (tmp_path / "wavs").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "wavs" / f"{number}.wav", make_speech(1.0, seed=number), 16_000)
    (tmp_path / "mine.yaml").write_text(CONFIG)
    teacher = save_hubert(tmp_path / "hubert")
    assert "3 clips" in run(command, tmp_path, "prepare", "source=wavs", "output=m.jsonl")
    sm = f"teachers.sm={{type: speech, model: {teacher}}}"
    assert "sm: 3 done" in run(command, tmp_path, "features", "manifest=m.jsonl", "cache=features", sm)
    run(command, tmp_path, "train", "--config", "mine.yaml")
    run(command, tmp_path, "encode", "wavs/0.wav", "t.pt", "-m", "run/export")
    run(command, tmp_path, "decode", "t.pt", "o.wav", "-m", "run/export")
    assert soundfile.info(tmp_path / "o.wav").frames == 16_000
    assert "df958262daeaccfc" in run(command, tmp_path, "info")
    where = subprocess.run(
        [command.with_name("python"), "-c", "import codec; print(codec.__file__)"],
        cwd=tmp_path, env={}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert not Path(where.stdout).is_relative_to(ROOT)
