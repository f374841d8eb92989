"""Hooks of mkdocs.yml: the reference of the commands, and files outside docs/ that pages link to."""

import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
COMMANDS = "<!-- commands -->"
"""The place in cli.md that becomes the help of every command."""
OUTSIDE = "source"
"""Folder of the site for files outside docs/."""
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?P<path>[^)\s#]+)")


def on_files(files: "Files", config: Any) -> "Files":
    """Add the files outside docs/ that pages link to, and those that they link to in turn."""
    from mkdocs.structure.files import File

    ahead = [DOCS / file.src_uri for file in files.documentation_pages()]
    while ahead:
        page = ahead.pop()
        for target in links_of(page):
            uri = uri_of(target)
            if files.get_file_from_path(uri) is None and target.is_relative_to(ROOT) and target.is_file():
                files.append(File.generated(config, uri, abs_src_path=str(target)))
                ahead += [target] if target.suffix == ".md" else []
    return files


def on_page_markdown(markdown: str, page: "Page", **_: Any) -> str:
    """Point links out of docs/ to the copies, and write the commands' help into the page that asks for it."""
    path = ROOT / page.file.src_uri.removeprefix(f"{OUTSIDE}/")
    path = path if page.file.src_uri.startswith(f"{OUTSIDE}/") else DOCS / page.file.src_uri
    markdown = _LINK.sub(lambda link: relative_uri(path, link["path"]), markdown)
    return markdown.replace(COMMANDS, commands()) if COMMANDS in markdown else markdown


def links_of(page: Path) -> Iterator[Path]:
    """Local files that a page links to."""
    for link in _LINK.finditer(page.read_text(encoding="utf-8")):
        yield (page.parent / link["path"]).resolve()


def uri_of(path: Path) -> str:
    """Where a file of the repository lies in the site's sources."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    return f"{OUTSIDE}/{path.relative_to(ROOT).as_posix()}" if path.is_relative_to(ROOT) else path.as_posix()


def relative_uri(page: Path, link: str) -> str:
    """A page's link to a file, from one place in the site's sources to the other."""
    return posixpath.relpath(uri_of((page.parent / link).resolve()), posixpath.dirname(uri_of(page)) or ".")


def commands() -> str:
    """What ``scripts/command_reference.py`` prints, of this source tree."""
    script = ROOT / "scripts" / "command_reference.py"
    result = subprocess.run([sys.executable, script], cwd=ROOT, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(result.stderr)
    return result.stdout
