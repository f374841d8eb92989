"""Alignments on disk: JSON lines that are only ever appended, so that an interrupted run resumes."""

from collections.abc import Iterable
from pathlib import Path

from codec.align.types import Alignment, Unit
from codec.errors import CodecError
from codec.jsonl import append_lines, read_lines


class AlignmentStore:
    """A file of :class:`Alignment`, one a line, by :attr:`Alignment.key` or else by clip.

    A torn last line does not count; see :mod:`codec.jsonl`. Later lines replace earlier ones of the same key.
    """

    def __init__(self, path: str | Path, unit: Unit):
        self.path, self.unit = Path(path), unit

    def read(self) -> dict[str, Alignment]:
        """All alignments; empty before the first run.

        Raises:
            CodecError: for a whole line that is not an alignment of this unit.
        """
        found: dict[str, Alignment] = {}
        for number, line in enumerate(read_lines(self.path), start=1):
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
        append_lines(self.path, (item.to_json(self.unit) for item in items))
