"""The commands in README and docs, those that are not run too: their verbs, options and configs exist."""

import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from command import run

from codec.settings import CONFIGS

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
SUBCOMMANDS = ("lm", "corpus", "stream")


def commands(page: Path) -> list[list[str]]:
    """Words of each ``codec VERB ...`` in the page's console and bash blocks, without what follows a pipe."""
    found = []
    for kind, block in re.findall(r"```(console|bash)\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if kind == "console" and not line.startswith("$ "):
                continue
            for part in re.split(r"\s(?:\||&&)\s|;\s", line.removeprefix("$ ")):
                words = shlex.split(part, comments=True)
                if "codec" in words[:5] and words.index("codec") + 1 < len(words):
                    found.append(words[words.index("codec") + 1 :])
    return [words for words in found if not words[0].startswith("-") and words[0] != "."]


@cache
def named() -> dict[tuple[str, ...], set[str]]:
    """The options in the documented commands, by verb."""
    options: dict[tuple[str, ...], set[str]] = {}
    for page in PAGES:
        for words in commands(page):
            verb = tuple(words[: 2 if words[0] in SUBCOMMANDS and len(words) > 1 else 1])
            given = {word.partition("=")[0] for word in words[len(verb) :] if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)}
            options.setdefault(verb, set()).update(given)
    return options


@pytest.mark.parametrize("verb", sorted(named()), ids=" ".join)
def test_documented_options_exist(verb, capfd, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    given = named()[verb]
    try:
        out = run(capfd, *verb, "--help").out
    except SystemExit:  # of argparse
        out = capfd.readouterr().out
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", out))
    assert "--help" in known
    assert given <= known, f"{' '.join(verb)}: {given - known}"


def test_documented_configs_are_shipped_or_files():
    for page in PAGES:
        for words in commands(page):
            for flag, value in pairwise(words):
                if flag == "--config":
                    assert value.endswith(".yaml") or (CONFIGS / f"{value}.yaml").is_file(), f"{page.name}: {value}"
