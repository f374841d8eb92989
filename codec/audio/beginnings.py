"""Where recordings begin in a file that holds several, or other things after its audio."""

import re
from typing import BinaryIO

from codec.audio.kinds import FOREIGN_KINDS, MPEG_BYTES, sound_kind, starts_mpeg
from codec.audio.views import find_all, read_at

_STARTS = tuple(
    re.compile(start, re.DOTALL)
    for start in (
        rb"RIF[FX].{4}WAVE",
        rb"RF64.{4}WAVE",
        rb"BW64.{4}WAVE",
        rb"riff\x2e\x91\xcf\x11",
        rb"FORM.{4}(?:AIF[FC]|8SVX)",
        rb"caff\x00\x01\x00\x00",
        rb"\.snd\x00\x00.{6}\x00\x00\x00[\x01-\x1b]",
        rb"OggS\x00[\x02\x06]",
        rb"fLaC[\x00\x80]\x00\x00\x22",
        rb"NIST_1A\n",
        rb"ID3[\x02-\x04].[\x00-\xff][\x00-\x7f]{4}",
    )
)
"""Beginnings that no other bytes are taken for. Each has some fixed bytes first, for which the search is fast."""
_LONGEST = 16
_MOST_PADDING = 8
"""Zeros with which a writer may fill up a recording."""


def next_recording(file: BinaryIO, place: int, end: int) -> int | None:
    """The first place from ``place`` on where a recording begins, if there is one.

    MPEG audio without a tag, and kinds that are not read here, are seen only right here, perhaps after tags or
    padding: other bytes may look like them.
    """
    tags = place + _padding(read_at(file, place, _MOST_PADDING))
    bare = place if skip_tags(file, tags) == tags else skip_tags(file, tags)
    head = read_at(file, bare, max(0, min(MPEG_BYTES, end - bare)))
    for padding in range(_padding(head) + 1):
        if starts_mpeg(head[padding:]) or sound_kind(head[padding:]) in FOREIGN_KINDS:
            return bare + padding
    return first_marked(file, place, end)


def first_marked(file: BinaryIO, place: int, end: int) -> int | None:
    """The same without bare MPEG audio."""
    return next((at for at in find_all(file, _STARTS, _LONGEST, place, end) if begins_at(file, at)), None)


def _padding(data: bytes) -> int:
    """Zeros at the beginning that may be padding."""
    return min(len(data) - len(data.lstrip(b"\0")), _MOST_PADDING - 1)


def begins_at(file: BinaryIO, place: int) -> bool:
    """Whether a recording begins right at ``place``; an ID3 tag alone is none."""
    after = skip_tags(file, place)
    head = read_at(file, after, MPEG_BYTES)
    frames = head.lstrip(b"\0") if after > place else head
    return starts_mpeg(frames) or any(start.match(head) for start in _STARTS)


def skip_tags(file: BinaryIO, place: int) -> int:
    """Past tags of the three kinds that stand before and after audio: ID3v2, ID3v1 and APE."""
    while len(head := read_at(file, place, 16)) == 16:
        if head.startswith(b"ID3"):
            size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
            place += 10 + size + 10 * (head[5] >> 4 & 1)
        elif head.startswith(b"TAG"):
            place += 128
        elif head.startswith(b"APETAGEX"):
            place += 32 + int.from_bytes(head[12:], "little")
        else:
            break
    return place
