"""Words and when they were spoken, kept in a JSONL file so that language teachers share them."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from codec.errors import CodecError


@dataclass(frozen=True)
class Word:
    """A word between ``start`` and ``end`` seconds of its clip."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class ClipWords:
    """The timed words of one clip, in order."""

    clip: str
    """:attr:`codec.data.Clip.name`."""
    words: tuple[Word, ...]
    source: str
    """Which model and method gave the times, such as ``whisper-base:forced``."""
    score: float | None = None
    """Mean probability of the words, where the method has one."""

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)

    def to_json(self) -> str:
        words = [[word.text, round(word.start, 3), round(word.end, 3)] for word in self.words]
        values = {"clip": self.clip, "words": words, "source": self.source}
        if self.score is not None:
            values["score"] = round(self.score, 4)
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "ClipWords":
        values = json.loads(line)
        words = tuple(Word(str(text), float(start), float(end)) for text, start, end in values["words"])
        return cls(values["clip"], words, values["source"], values.get("score"))


class WordStore:
    """Append-only JSONL file of :class:`ClipWords`; a line torn by an interrupted run is dropped."""

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def read(self) -> dict[str, ClipWords]:
        """Timed words by clip name; empty before the first run.

        Raises:
            CodecError: for a line that is none of ours, unless it is the last.
        """
        if not self.path.is_file():
            return {}
        lines = self.path.read_text(encoding="utf-8").splitlines()
        found: dict[str, ClipWords] = {}
        for number, line in enumerate(lines, start=1):
            try:
                item = ClipWords.from_json(line)
            except (ValueError, KeyError, TypeError):
                if number == len(lines):
                    break
                raise CodecError(
                    f"{self.path}:{number}: no timed words; delete the line or the file"
                ) from None
            found[item.clip] = item
        return found

    def append(self, items: Iterable[ClipWords]) -> None:
        """Add lines, after dropping a last line without its end."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._drop_torn_line()
        with self.path.open("a", encoding="utf-8") as file:
            file.writelines(item.to_json() + "\n" for item in items)

    def _drop_torn_line(self) -> None:
        if not self.path.is_file():
            return
        with self.path.open("rb+") as file:
            data = file.read()
            if data and not data.endswith(b"\n"):
                file.truncate(data.rfind(b"\n") + 1)
