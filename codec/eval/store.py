"""Finished measurements on disk, one JSON line each: what a resumed run skips."""

import dataclasses
import json
from pathlib import Path

from codec.eval.types import Row
from codec.jsonl import append_lines, read_lines


class ResultStore:
    """Rows of ``results.jsonl`` by key. Later lines replace earlier ones of the same key."""

    def __init__(self, path: Path):
        self.path = path
        self.rows: dict[str, Row] = {}
        for line in read_lines(path):
            row = _parse(line)
            if row:
                self.rows[row.key] = row

    def scored(self, key: str) -> bool:
        """Whether there are values under ``key``. What was skipped is tried again: its cause may be gone."""
        return key in self.rows and self.rows[key].skipped is None

    def add(self, rows: list[Row]) -> None:
        """Keep rows, on disk at once."""
        self.rows |= {row.key: row for row in rows}
        append_lines(self.path, (json.dumps(dataclasses.asdict(row), ensure_ascii=False) for row in rows))


def _parse(line: bytes) -> Row | None:
    try:
        return Row(**json.loads(line))
    except (ValueError, TypeError):
        # Of another version, or joined by a torn one of old: that measurement is made again.
        return None
