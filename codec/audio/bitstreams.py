"""Compressed streams: Ogg and MPEG audio, each perhaps several joined into one file."""

import re
import struct
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import BinaryIO

from codec.audio.beginnings import first_marked, next_recording, skip_tags
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
    starts, in_headers, last = [], False, start
    for place, is_first, after in _pages(file, start, end):
        if is_first and not in_headers:
            starts.append(place)
        in_headers, last = is_first, after
    problem = "it is cut short in the middle of a page; the part before it was read" if last > end else None
    end = next_recording(file, last, end) or end
    if not starts:
        return [Part(start, end)]
    parts = [Part(first, after) for first, after in pairwise([*starts, end])]
    return [*parts[:-1], replace(parts[-1], problem=problem)]


def _pages(file: BinaryIO, place: int, end: int) -> Iterator[tuple[int, bool, int]]:
    """Place, whether it begins a logical stream, and where it should end, page by page."""
    while place < end:
        head = read_at(file, place, 27 + 255)
        if not head.startswith(b"OggS"):
            return
        count = head[26] if len(head) > 26 else 0
        after = place + 27 + count + sum(head[27 : 27 + count])
        yield place, len(head) > 5 and bool(head[5] & 2), after
        place = after


def find_mpeg(file: BinaryIO, start: int, end: int) -> list[Part]:
    """MPEG audio: a further part begins at each Xing tag, and where one says that its own part ends."""
    start = _skip_garbage(file, start)
    end, is_cut = _end_of_frames(file, start, end)
    problem = "it is cut short in its last frame; the part before it was read" if is_cut else None
    starts = [place for place in _tagged_frames(file, start, end) if place > start]
    parts = []
    for first, after in pairwise([start, *starts, end]):
        parts += _tagged_parts(file, first, after)
    return [*parts[:-1], replace(parts[-1], problem=problem)]


def _end_of_frames(file: BinaryIO, start: int, end: int) -> tuple[int, bool]:
    """Where the frames of one form end that begin at ``start``, and whether a piece of a further one follows.

    Decoders stumble on such a piece, and stop at another form. A file is walked through only when its end is odd.
    """
    form = _form(file, start)
    place = _next_frame(file, max(start, end - _TAIL), end)
    if place is None:
        further = first_marked(file, start + 1, end)
        return (end, False) if further is None else _end_of_frames(file, start, further)
    if _form(file, place) != form:
        place = start
    while place < end:
        frame = mpeg_frame(read_at(file, place, 4))
        if frame is None or _form(file, place) != form:
            nearby = _next_frame(file, place, min(end, place + _MOST_GARBAGE))
            place = next_recording(file, place, nearby or end) or nearby or end
            if place == end or _form(file, place) != form:
                return place, False
        elif place + frame.size > end:
            return place, True
        else:
            place += frame.size
    return end, False


def _form(file: BinaryIO, place: int) -> tuple[tuple[int, int, int], int] | None:
    """What a frame shares with those that a decoder plays on with: the stream, and mono or stereo."""
    frame = mpeg_frame(read_at(file, place, 4))
    return None if frame is None else (frame.stream, frame.tag_offset)


def _skip_garbage(file: BinaryIO, place: int) -> int:
    """Past ID3v2 tags, and what garbage lies before the first frame."""
    place = skip_tags(file, place)
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
    for tag in find_all(file, (_XING,), 8, start, end):
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
