"""Compressed streams: Ogg and MPEG audio, each perhaps several joined into one file."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import BinaryIO

from codec.audio.kinds import MPEG_BYTES, mpeg_frame, starts_mpeg
from codec.audio.views import Part, find_all, read_at

_XING = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x00-\x0f]", re.DOTALL)
_SYNC = re.compile(rb"\xff[\xe2-\xff]", re.DOTALL)
_TAIL = 1 << 14
"""Bytes in which there are several MPEG frames of any kind."""
_MOST_GARBAGE = 1 << 17
"""Bytes that may lie between a tag and the first frame of MPEG audio."""


def find_ogg(file: BinaryIO, start: int, end: int) -> list[Part]:
    """The links of an Ogg file (RFC 3533): each begins with pages that say so."""
    starts, in_headers, problem = [], False, None
    for place, is_first, is_whole in _pages(file, start, end):
        if is_first and not in_headers:
            starts.append(place)
        in_headers = is_first
        if not is_whole:
            problem = "it is cut short in the middle of a page; the part before it was read"
    if not starts:
        return [Part(start, end)]
    parts = [Part(first, after) for first, after in pairwise([*starts, end])]
    return [*parts[:-1], replace(parts[-1], problem=problem)]


def _pages(file: BinaryIO, place: int, end: int) -> Iterator[tuple[int, bool, bool]]:
    """Place, whether it begins a logical stream, and whether all of it is there, page by page."""
    while place < end:
        head = read_at(file, place, 27 + 255)
        if not head.startswith(b"OggS"):
            return
        count = head[26] if len(head) > 26 else 0
        after = place + 27 + count + sum(head[27 : 27 + count])
        yield place, len(head) > 5 and bool(head[5] & 2), len(head) >= 27 + count and after <= end
        place = after


def find_mpeg(file: BinaryIO, start: int, end: int) -> list[Part]:
    """MPEG audio: a further part begins at each Xing tag, and where one says that its own part ends."""
    start = _skip_id3(file, start)
    last = _end_of_frames(file, start, end)
    problem = None if last == end else "it is cut short in its last frame; the part before it was read"
    end = last
    starts = [place for place in _tagged_frames(file, start, end) if place > start]
    parts = []
    for first, after in pairwise([start, *starts, end]):
        parts += _tagged_parts(file, first, after)
    return [*parts[:-1], replace(parts[-1], problem=problem)]


def _end_of_frames(file: BinaryIO, start: int, end: int) -> int:
    """``end``, or where the last frame begins when only a piece of it is there: decoders stumble on it."""
    place = _next_frame(file, max(start, end - _TAIL), end)
    if place is None:
        return end
    first = frame = mpeg_frame(read_at(file, place, 4))
    while first is not None and frame is not None and frame.stream == first.stream:
        if place + frame.size > end:
            return place
        place += frame.size
        frame = mpeg_frame(read_at(file, place, 4))
    return end


def _skip_id3(file: BinaryIO, place: int) -> int:
    """Past ID3v2 tags, and what garbage lies before the first frame."""
    while (head := read_at(file, place, 10)).startswith(b"ID3") and len(head) == 10:
        place += 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) + 10 * (head[5] >> 4 & 1)
    if read_at(file, place, 4) == b"fLaC":
        return place
    first = _next_frame(file, place, place + _MOST_GARBAGE)
    return place if first is None else first


def _next_frame(file: BinaryIO, start: int, end: int) -> int | None:
    """The first place with two frames of one stream."""
    data = read_at(file, start, max(0, end - start))
    for match in _SYNC.finditer(data):
        if starts_mpeg(data[match.start() : match.start() + MPEG_BYTES]):
            return start + match.start()
    return None


def _tagged_frames(file: BinaryIO, start: int, end: int) -> Iterator[int]:
    """Frames that hold a Xing or Info tag instead of audio."""
    for tag in find_all(file, _XING, 8, start, end):
        for offset in (36, 21, 13):
            place = tag - offset
            frame = mpeg_frame(read_at(file, place, 4)) if place >= start else None
            if frame is not None and frame.tag_offset == offset:
                yield place
                break


def _tagged_parts(file: BinaryIO, start: int, end: int) -> list[Part]:
    """A part that may begin with a tag, and what follows after the bytes that the tag counts.

    A tag with missing frames is dropped, as the decoder would wait for them.
    """
    whole = Part(start, end, is_mpeg=True, says_length=False)
    head = read_at(file, start, 4 + 32 + 16)
    frame = mpeg_frame(head)
    if frame is None:
        return [whole]
    tag = head[frame.tag_offset :]
    if not _XING.match(tag) or len(tag) < 16:
        return [whole]
    flags, frames, size = struct.unpack(">III", tag[4:16])
    if not flags & 1 or frames == 0:
        return [replace(whole, start=start + frame.size)]
    if start + size > end:
        return [Part(start + frame.size, end, is_mpeg=True, samples=frames * frame.samples)]
    after = start + size if flags & 2 and size else end
    further = _next_frame(file, after, min(end, after + _MOST_GARBAGE))
    first = Part(start, further or end, is_mpeg=True)
    return [first] if further is None else [first, replace(whole, start=further)]
