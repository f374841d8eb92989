"""The code blocks of README and docs run, and their links lead somewhere.

Blocks of ``bash``, ``console`` and ``python`` run page by page, each page in a folder of its own with the bundled clip
as ``speech.flac`` and ``in.wav`` and two ``recordings``. A block that cannot run there says why
in a line ``<!-- not run: reason -->`` above it.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
LINKED = [*PAGES, *ROOT.glob("C*.md"), *(ROOT / "checkpoints").rglob("*.md"), *(ROOT / "codec").rglob("*.md")]
_BLOCK = re.compile(r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?```(?P<language>\w*)\n(?P<source>.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"^(?:    )?(?:\$ |codec |python |accelerate |pip |hf )", re.MULTILINE)


def blocks_of(page: Path) -> list[re.Match[str]]:
    return list(_BLOCK.finditer(page.read_text(encoding="utf-8")))


def runnable(page: Path) -> list[tuple[str, str]]:
    """Language and source of the blocks to run: python, or the commands of bash and console."""
    blocks = []
    for block in blocks_of(page):
        if block["reason"] or block["language"] not in ("bash", "console", "python"):
            continue
        commands = re.findall(r"^\$ (.*)$", block["source"], re.MULTILINE)
        blocks.append((block["language"], "\n".join(commands) if commands else block["source"]))
    return blocks


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def environment(tmp_path_factory) -> dict[str, str]:
    """The environment with a ``codec`` command that is this source tree."""
    bin_folder = tmp_path_factory.mktemp("bin")
    command = bin_folder / "codec"
    command.write_text(f"#!{sys.executable}\nimport sys\nfrom codec.cli import main\nif __name__ == '__main__':\n    sys.exit(main())\n")
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


@pytest.fixture
def workshop(tmp_path, tiny_model_dir) -> Path:
    """A folder with what the examples take for granted."""
    shutil.copy(ROOT / "codec" / "assets" / "speech.flac", tmp_path)
    soundfile.write(tmp_path / "in.wav", *soundfile.read(tmp_path / "speech.flac"))
    (tmp_path / "recordings" / "more").mkdir(parents=True)
    for name in ("a.wav", "more/b.wav"):
        shutil.copy(tmp_path / "in.wav", tmp_path / "recordings" / name)
    if not (ROOT / "checkpoints" / "default" / "config.json").is_file():
        shutil.copytree(tiny_model_dir, tmp_path / "default")
    return tmp_path


def run(language: str, source: str, folder: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-c"] if language == "python" else ["bash", "-euo", "pipefail", "-c"]
    result = subprocess.run(
        [*command, source], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("page", [page for page in PAGES if runnable(page)], ids=name_of)
def test_the_blocks_of_a_page_run(page, workshop, environment):
    blocks = runnable(page)
    for source in (source for language, source in blocks if language != "python"):
        run("bash", source, workshop, environment)
    python = [source for language, source in blocks if language == "python"]
    if python:
        run("python", "\n".join(python), workshop, environment)
    if page.name == "README.md" and page.parent == ROOT:
        made = {path.relative_to(workshop).as_posix() for path in workshop.rglob("*") if path.is_file()}
        expected = {"tokens.pt", "out.wav", "small.rvq", "stream.pt", "tokens/a.rvq", "tokens/more/b.rvq"}
        assert expected | {"decoded/a.wav", "decoded/more/b.wav"} <= made
        assert (workshop / "stream.pt").stat().st_size == (workshop / "tokens.pt").stat().st_size


SMALL = (
    "max_steps=1 tracker=none data.batch_size=1 data.crop_frames=20 data.cache=audio quantizer.init_steps=1"
    " quantizer.init_vectors=64 model.quantizer.codebook_size=16 model.network.encoder_dim=16"
    " model.network.encoder_layers=1 model.network.decoder_dim=16 model.network.decoder_layers=1"
)


def test_training_on_recordings_of_ones_own_runs_as_the_readme_says(workshop, environment):
    text = (ROOT / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    (prepare,) = re.findall(r"^\$ (codec prepare .*?)(?:#.*)?$", text, re.MULTILINE)
    (train,) = re.findall(r"^\$ (codec train .*)$", text, re.MULTILINE)
    run("bash", f"{prepare}\n{train} {SMALL}", workshop, environment)
    assert (workshop / "runs" / "mine" / "export" / "config.json").is_file()


def test_some_pages_run():
    expected = {"README.md", "docs/python.md", "docs/streaming.md"}
    assert expected <= {name_of(page) for page in PAGES if runnable(page)}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_stand_in_blocks_of_a_language(page):
    outside = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    assert re.findall(r"^    \$ .*", outside, re.MULTILINE) == []
    assert [b["source"] for b in blocks_of(page) if not b["language"] and _COMMAND.match(b["source"])] == []


def links_of(page: Path) -> Iterator[tuple[Path, str]]:
    """File and anchor of each local link of a page."""
    for link in re.findall(r"\]\(([^)\s]+)\)", _BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if "://" not in link and not link.startswith("mailto:"):
            path, _, anchor = link.partition("#")
            yield (page.parent / path).resolve() if path else page, anchor


def anchors_of(page: Path) -> set[str]:
    """What GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_local_links_lead_somewhere(page):
    for target, anchor in links_of(page):
        assert target.exists(), f"{name_of(page)} links to {target}, which is not there"
        assert not anchor or anchor in anchors_of(target), f"{name_of(page)}: {target.name} has no #{anchor}"


def test_every_page_is_reached_from_the_index():
    reached: set[Path] = set()
    ahead = [ROOT / "docs" / "README.md"]
    while ahead:
        page = ahead.pop()
        if page not in reached:
            reached.add(page)
            ahead += [target for target, _ in links_of(page) if target.suffix == ".md" and target.is_file()]
    assert [name_of(page) for page in DOCS if page not in reached] == []
