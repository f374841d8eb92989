"""Utterances of a corpus: what the plan says of each, and how their files are found again."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from codec.config import from_dict
from codec.errors import CodecError

_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Of characters in UTF-16, as a text has them that was cut; but for those that stand for a byte of a name."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance to be encoded: where its audio lies, and what is known about it."""

    id: str
    """Unique in the corpus."""
    path: str
    """A file or URL: of the recording, of the tar that holds it, or the folder of a dataset on disk."""
    size: int | None = None
    """Bytes of the recording; ``None`` where there was no such file when the plan was made."""
    offset: int | None = None
    """Where in the tar the recording begins."""
    row: int | None = None
    """Of a dataset on disk."""
    start: float | None = None
    """Seconds at which a part of a recording begins; the whole recording is taken where it is ``None``."""
    duration: float | None = None
    """Seconds of the part."""
    member: str | None = None
    """Name of the recording in its tar."""
    column: str | None = None
    """Of a dataset: the column with the audio."""
    seconds: float | None = None
    """Duration, where the source says it."""
    text: str | None = None
    speaker: str | None = None

    @property
    def source(self) -> str:
        """Where the audio lies, for people: a path, ``a.tar!b.flac``, ``dataset#7``, ``a.wav@1.5+2``."""
        inside = f"!{self.member}" if self.member is not None else ""
        inside += f"#{self.row}" if self.row is not None else ""
        part = f"@{self.start:g}+{self.duration:g}" if self.start is not None and self.duration is not None else ""
        return f"{self.path}{inside}{part}"


def to_lines(utterances: Iterable[Utterance]) -> bytes:
    """JSON lines; what is not known is left out."""
    lines = []
    for utterance in utterances:
        known = {name: value for name, value in dataclasses.asdict(utterance).items() if value is not None}
        lines.append(json.dumps(known, ensure_ascii=False, separators=(",", ":")) + "\n")
    # A path may hold bytes that are no UTF-8, which the system has to get back as they were.
    return "".join(lines).encode(errors="surrogatepass")


def from_lines(data: bytes) -> list[Utterance]:
    """Inverse of :func:`to_lines`."""
    return [from_dict(Utterance, json.loads(line)) for line in data.split(b"\n") if line]


def printable(text: str) -> str:
    r"""The text in UTF-8: bytes of names that are none are shown as ``\xff``, halves of characters as ``\ud83d``."""
    text = _HALVES.sub(lambda half: f"\\u{ord(half[0]):04x}", text)
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _in_utf8(utterance: Utterance) -> Utterance:
    text, speaker = (value and printable(value) for value in (utterance.text, utterance.speaker))
    return dataclasses.replace(utterance, id=printable(utterance.id), text=text, speaker=speaker)


def check_ids(utterances: Callable[[], Iterable[Utterance]]) -> Iterator[Utterance]:
    """The utterances of a source as they come, of which each has an id of its own.

    Args:
        utterances: lists the source.

    Raises:
        CodecError: when two utterances have one id.
    """
    # Not the ids themselves: there may be many millions.
    seen: set[bytes] = set()
    for utterance in map(_in_utf8, utterances()):
        digest = hashlib.blake2b(utterance.id.encode(), digest_size=16).digest()
        if digest in seen:
            first = next(other for other in map(_in_utf8, utterances()) if other.id == utterance.id)
            raise CodecError(
                f"two utterances have the id {utterance.id!r}: {first.source} and {utterance.source}; "
                "rename one, since ids name rows"
            )
        seen.add(digest)
        yield utterance
