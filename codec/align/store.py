"""Alignments on disk: JSON lines that are only ever appended, so that an interrupted run resumes."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from codec.align.types import Alignment, Unit
from codec.errors import CodecError


class AlignmentStore:
    """A file of :class:`Alignment`, one a line, by :attr:`Alignment.key` or else by clip.

    A line without its end was torn by an interruption: it is not read, and cut off before the next one
    is written. Later lines replace earlier ones of the same key.
    """

    def __init__(self, path: str | Path, unit: Unit):
        self.path, self.unit = Path(path), unit

    def read(self) -> dict[str, Alignment]:
        """All alignments; empty before the first run.

        Raises:
            CodecError: for a whole line that is not an alignment of this unit.
        """
        if not self.path.is_file():
            return {}
        data = self.path.read_bytes()
        found: dict[str, Alignment] = {}
        for number, line in enumerate(data[: data.rfind(b"\n") + 1].splitlines(), start=1):
            try:
                item = Alignment.from_json(line, self.unit)
            except (ValueError, KeyError, TypeError):
                raise CodecError(
                    f"{self.path}:{number}: no timed {self.unit}; delete the line or the file"
                ) from None
            found[item.key or item.clip] = item
        return found

    def append(self, items: Iterable[Alignment]) -> None:
        """Add lines, after cutting off a torn one. They are on disk when this returns."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            self._cut_torn_line(file)
            file.writelines(f"{item.to_json(self.unit)}\n".encode() for item in items)

    def _cut_torn_line(self, file: BinaryIO) -> None:
        if file.seek(0, 2) == 0:
            return
        file.seek(-1, 2)
        if file.read(1) == b"\n":
            return
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
