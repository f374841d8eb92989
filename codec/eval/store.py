"""Finished measurements on disk, one JSON line each: what a resumed run skips."""

import dataclasses
import json
from pathlib import Path

from codec.eval.types import Row


class ResultStore:
    """Rows of ``results.jsonl`` by key. Later lines replace earlier ones of the same key."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[str, Row] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                row = _parse(line)
                if row:
                    self.rows[row.key] = row
            self._end_last_line()

    def scored(self, key: str) -> bool:
        """Whether there are values under ``key``. What was skipped is tried again: its cause may be gone."""
        return key in self.rows and self.rows[key].skipped is None

    def add(self, rows: list[Row]) -> None:
        """Keep rows, on disk at once."""
        with self.path.open("a", encoding="utf-8") as file:
            for row in rows:
                self.rows[row.key] = row
                file.write(json.dumps(dataclasses.asdict(row), ensure_ascii=False) + "\n")

    def _end_last_line(self) -> None:
        """A run that was killed may have left half a line; the next row must not join it."""
        text = self.path.read_bytes()
        if text and not text.endswith(b"\n"):
            with self.path.open("ab") as file:
                file.write(b"\n")


def _parse(line: str) -> Row | None:
    try:
        return Row(**json.loads(line))
    except (ValueError, TypeError):
        # Half a line of a killed run: that measurement is made again.
        return None
