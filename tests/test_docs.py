"""The site of the documentation has every page, and its references cover the commands and the public names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("accelerate", reason="the reference of the commands needs the extras")
pytest.importorskip("jiwer", reason="the reference of the commands needs the extras")

import codec
from codec.cli import app

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"


def test_the_navigation_has_every_page_once():
    navigation = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r"([\w/.-]+\.md)$", navigation, re.MULTILINE)
    assert sorted(listed) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


def test_the_python_reference_has_every_public_name():
    page = (DOCS / "api.md").read_text()
    (functions,) = re.findall(r"::: codec\n    options:\n(?:      .*\n)*?      members: \[(.*)\]", page)
    named = {*functions.split(", "), *re.findall(r"^::: codec\.([A-Z]\w+)$", page, re.MULTILINE)}
    assert named == set(codec.__all__) - {"__version__"}


def test_the_reference_of_the_commands_has_each_with_its_options():
    command = [sys.executable, ROOT / "scripts" / "command_reference.py"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    text = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    headings = re.findall(r"^#+ codec ?(.*)$", text, re.MULTILINE)
    verbs = {one.name for one in [*app.registered_commands, *app.registered_groups]}
    assert verbs <= set(headings)
    assert {"lm train", "lm generate", "corpus export", "stream encode"} <= set(headings)
    assert len(headings) == len(set(headings)) == text.count("```text\n")
    for option in ("--codebooks", "--max-clients", "--config NAME|YAML", "checkpoint_every=", "--probes"):
        assert option in text
