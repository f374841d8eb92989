"""Search a folder for files, and report the skipped ones."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import filterfalse
from pathlib import Path

from codec.atomic import reason
from codec.console import print_note

_CONVERTIBLE = (
    ".m4a", ".m4b", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".mov", ".3gp", ".amr", ".wma", ".wv", ".ape",
    ".ac3", ".dsf", ".tta",
)  # fmt: skip
"""Audio that has to be converted first."""


@dataclass
class Search:
    """The files in a folder.

    Attributes:
        found: files of the kind that is looked for, in order.
        passed: the skipped files, by reason.
        unreadable: one message for each folder or link that cannot be followed.
    """

    found: list[Path] = field(default_factory=list)
    passed: dict[str, list[Path]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)

    def summary(self) -> str | None:
        """One line about the skipped files, ``None`` when there are none."""
        pieces = []
        for words, paths in sorted(self.passed.items()):
            example = f", as {_shown(paths[0])}" if len(paths) > 1 else f": {_shown(paths[0])}"
            pieces.append(f"{len(paths)} {words}{example}")
        return f"skipped: {'; '.join(pieces)}" if pieces else None

    def print_summary(self) -> None:
        """A note about the skipped files, where there are any."""
        if summary := self.summary():
            print_note(f"note: {summary}")

    def pass_over(self, words: str, path: Path) -> None:
        self.passed.setdefault(words, []).append(path)


def search_folder(
    folder: Path, suffixes: Sequence[str], companions: Sequence[str] = (), any_name: bool = False
) -> Search:
    """Files below ``folder`` with one of the suffixes.

    Links to folders are followed, but no folder is entered twice; real folders come before links.

    Args:
        companions: suffixes of files that are read with those, and so are no skipped ones.
        any_name: find files whose names are not UTF-8, too, which a manifest, table or report can only hold escaped.
    """
    search, seen = Search(), set()
    pending = [folder]
    links: list[Path] = []
    while pending or links:
        current = pending.pop(0) if pending else links.pop(0)
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                search.pass_over("linked folder(s) that are in the tree already", current)
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            search.unreadable.append(f"{current}: cannot be read ({reason(error)})")
            continue
        for entry in listed:
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # as of a link that points to itself
                search.unreadable.append(f"{entry.path}: cannot be read ({reason(error)})")
                continue
            if is_folder and not entry.name.startswith("."):
                (links if entry.is_symlink() else pending).append(Path(entry.path))
            else:
                _sort_in(search, Path(entry.path), suffixes, companions)
    search.found.sort()
    if not any_name:
        for path in filterfalse(_is_utf8, search.found):
            search.pass_over("with names that are not UTF-8 (rename them)", path)
        search.found = list(filter(_is_utf8, search.found))
    return search


def _is_utf8(path: Path) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in str(path))


def _shown(path: Path) -> str:
    return os.fsencode(path).decode(errors="backslashreplace")


def _sort_in(search: Search, path: Path, suffixes: Sequence[str], companions: Sequence[str]) -> None:
    suffix = path.suffix.lower()
    if path.name.startswith("."):
        search.pass_over("hidden", path)
    elif path.is_symlink() and not path.exists():
        search.unreadable.append(f"{path}: cannot be read (a link to nothing)")
    elif not path.is_file():
        search.pass_over("special file(s)", path)
    elif suffix in suffixes:
        search.found.append(path)
    elif suffix in companions:
        return
    elif suffix in _CONVERTIBLE:
        search.pass_over(f"{suffix} (convert first: ffmpeg -i IN OUT.wav)", path)
    else:
        search.pass_over(suffix or "without a suffix (name them alone, or give them one)", path)
