"""Files of JSON lines that only ever grow, so that an interrupted run resumes.

A last line without its end was torn by an interruption: it is not read, and it is cut off before the next
line is written.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO


def read_lines(path: Path) -> list[bytes]:
    """The whole lines of a file, without their ends; none where there is no file."""
    if not path.is_file():
        return []
    # Not splitlines(): JSON may hold other line breaks, such as U+2028 in a transcript.
    return path.read_bytes().split(b"\n")[:-1]


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Add lines, given without their ends, after cutting off a torn one.

    They have been handed to the system when this returns, so they outlive this process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        _cut_torn_line(file)
        file.writelines(f"{line}\n".encode() for line in lines)


def _cut_torn_line(file: BinaryIO) -> None:
    if file.seek(0, 2) == 0:
        return
    file.seek(-1, 2)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
