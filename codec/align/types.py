"""Inputs and results of aligners: clips, and their words or phones with times."""

import json
from dataclasses import dataclass
from typing import Any, Literal, Self

from torch import Tensor

from codec.data import Clip

Unit = Literal["words", "phones"]
"""The unit that an aligner finds the times of."""


@dataclass(frozen=True)
class Interval:
    """A word or phone between ``start`` and ``end`` seconds of its clip; ``label`` is None where unknown.

    Times are kept to the nanosecond: models reach one edge by different sums, and without rounding a word
    could end a hair after the next one starts.
    """

    label: str | None
    start: float
    end: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", round(self.start, 9))
        object.__setattr__(self, "end", round(self.end, 9))


@dataclass(frozen=True)
class Alignment:
    """The words or phones of one clip, in order, or why there are none.

    Attributes:
        clip: :attr:`codec.data.Clip.name`.
        source: which model and method gave the times, such as ``whisper-base:forced``.
        score: mean probability of the intervals, where the method has one.
        error: why the clip could not be aligned; it has no intervals then.
        key: what a store knows it by, if not by the clip's name.
    """

    clip: str
    intervals: tuple[Interval, ...]
    source: str = ""
    score: float | None = None
    error: str | None = None
    key: str | None = None

    @property
    def text(self) -> str:
        """The labels, with spaces between them."""
        return " ".join(interval.label for interval in self.intervals if interval.label is not None)

    def to_json(self, unit: Unit) -> str:
        """One line; the intervals stand under the name of their unit, in milliseconds' precision."""
        values: dict[str, Any] = (
            {"clip": self.clip} if self.key is None else {"key": self.key, "clip": self.clip}
        )
        if self.error is not None:
            return json.dumps(values | {"error": self.error}, ensure_ascii=False)
        values[unit] = [[item.label, round(item.start, 3), round(item.end, 3)] for item in self.intervals]
        values["source"] = self.source
        if self.score is not None:
            values["score"] = round(self.score, 4)
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str | bytes, unit: Unit) -> Self:
        """Inverse of :meth:`to_json`.

        Phones were once kept as ``segments``, in frames of 10 ms.

        Raises:
            ValueError, KeyError, TypeError: for a line that is not an alignment of this unit.
        """
        values = json.loads(line)
        if "error" in values:
            return cls(values["clip"], (), error=str(values["error"]), key=values.get("key"))
        if unit == "phones" and "segments" in values:
            rows = [(label, start / 100, end / 100) for label, start, end in values["segments"]]
        else:
            rows = values[unit]
        intervals = tuple(
            Interval(None if label is None else str(label), float(start), float(end))
            for label, start, end in rows
        )
        source = values.get("source", "") if unit == "phones" else values["source"]
        return cls(values["clip"], intervals, source, values.get("score"), key=values.get("key"))


@dataclass(frozen=True)
class Utterance:
    """The input of an aligner or a teacher.

    Attributes:
        clip: the manifest's line.
        wav: ``(T,)`` float32 at the rate of the aligner or teacher; ``None`` unless it needs audio.
        words: the clip's words and times; ``None`` unless it needs them.
    """

    clip: Clip
    wav: Tensor | None = None
    words: Alignment | None = None

    @property
    def audio(self) -> Tensor:
        """:attr:`wav`, for those who need audio."""
        assert self.wav is not None
        return self.wav

    @property
    def text(self) -> str:
        """The clip's, where it is known that there is one."""
        assert self.clip.text is not None
        return self.clip.text


@dataclass(frozen=True)
class Omitted:
    """A clip that was skipped, and the reason."""

    clip: str
    reason: str
