"""FLAC: its streams in a file, and where the last whole frame of each ends."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import BinaryIO

from codec.audio.views import Part, find_all, read_at

_STREAM = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
"""The marker and the header of its first block, which always has 34 bytes."""
_SYNC = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)
_TAILS = (1 << 17, 1 << 22)
"""Bytes in which to look for the last frames: usual ones, then the largest that there can be."""


def find_flac(file: BinaryIO, start: int, end: int) -> list[Part]:
    """FLAC streams, each to be read to the end of its last whole frame, whatever number of samples it promises.

    The promise is the 36-bit field in STREAMINFO (RFC 9639, 8.2); as 0, which means unknown, it does
    not end the reading.
    """
    starts = list(find_all(file, _STREAM, 8, start, end)) or [start]
    return [_part(file, first, after) for first, after in pairwise([*starts, end])]


def _part(file: BinaryIO, start: int, end: int) -> Part:
    place = start + 8 + 13
    field = read_at(file, place, 5)
    if len(field) < 5:
        return Part(start, end)
    samples = int.from_bytes(field, "big") & (1 << 36) - 1
    unknown = bytes([field[0] & 0xF0, 0, 0, 0, 0])
    part = Part(start, end, ((place, unknown),), samples=samples or None, says_length=samples > 0)
    last = _end_of_frames(file, start, end)
    if last == end:
        return part
    problem = "it is cut short in its last frame; what is there was read"
    return replace(part, end=last, says_length=False, problem=problem)


def _end_of_frames(file: BinaryIO, start: int, end: int) -> int:
    """Where the last whole frame ends: ``end``, unless the file is cut in a frame.

    A frame is whole when its CRC-16 fits (RFC 9639, 9.3). Without any, ``end``: the decoder then says what it
    misses.
    """
    for size in _TAILS:
        first = max(start, end - size)
        data = read_at(file, first, end - first)
        places = [match.start() for match in _SYNC.finditer(data)]
        for index in reversed(range(len(places))):
            if _is_header(data[places[index] : places[index] + 16]):
                last = _end_of_frame(data, places[index], places[index + 1 :])
                if last is not None:
                    return first + last
        if first == start:
            break
    return end


def _end_of_frame(data: bytes, start: int, places: Sequence[int]) -> int | None:
    """Which of ``places``, or the end, the frame at ``start`` reaches to; ``None`` when it is not whole."""
    crc, begin = 0, start
    for place in (*places, len(data)):
        crc, begin = _crc(data[begin:place], _CRC16, 16, crc), place
        if crc == 0:
            return place
    return None


def _is_header(data: bytes) -> bool:
    """Whether a frame can begin so: fields that are allowed, and a CRC-8 that fits (RFC 9639, 9.1)."""
    if len(data) < 6:
        return False
    size, rate, channels, depth = data[2] >> 4, data[2] & 15, data[3] >> 4, data[3] >> 1 & 7
    if size == 0 or rate == 15 or channels > 10 or depth == 3 or data[3] & 1:
        return False
    # The number of the frame, coded as UTF-8 codes characters; then sizes and rates that no table has.
    ones = 8 - (data[4] ^ 0xFF).bit_length()
    length = 4 + max(1, ones) + {6: 1, 7: 2}.get(size, 0) + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    return ones != 1 and ones < 8 and len(data) > length and _crc(data[: length + 1], _CRC8, 8) == 0


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        rest = byte << bits - 8
        for _ in range(8):
            rest = (rest << 1 ^ (polynomial if rest >> bits - 1 else 0)) & (1 << bits) - 1
        table.append(rest)
    return table


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def _crc(data: bytes, table: list[int], bits: int, crc: int = 0) -> int:
    high, mask = bits - 8, (1 << bits) - 1
    for byte in data:
        crc = crc << 8 & mask ^ table[crc >> high ^ byte]
    return crc
