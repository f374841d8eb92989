"""FLAC: a stream in a file, and where its last whole frame ends."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import soundfile

from codec.audio.beginnings import first_marked
from codec.audio.views import Part, SoundStream, find_all, read_at

_STREAM = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22", re.DOTALL)
"""The marker and the header of its first block, which always has 34 bytes."""
_SYNC = re.compile(rb"\xff[\xf8\xf9]", re.DOTALL)
_TAILS = (1 << 17, 1 << 22)
"""Bytes in which to look for the last frames: usual ones, then the largest that there can be."""
_LONG_TAIL = 1 << 26
"""The same, where something large follows the last frame."""


@dataclass(frozen=True)
class _Frame:
    """What the header of a frame says.

    Attributes:
        number: of the frame, or of its first sample where sizes vary.
        size: samples of each channel.
        has_varying_size: whether the frames of the stream do not all have one size.
    """

    number: int
    size: int
    has_varying_size: bool


def read_flac(file: BinaryIO, start: int, end: int) -> Part:
    """The FLAC stream at ``start``, to be read to the end of its last whole frame, whatever it promises.

    The promise is the 36-bit field in STREAMINFO (RFC 9639, 8.2); as 0, which means unknown, it does
    not end the reading. Of what follows the last frame, a decoder must see nothing.
    """
    info = read_at(file, start, 42)
    if len(info) < 42:
        return Part(start, end)
    place = start + 8 + 13
    samples = int.from_bytes(info[21:26], "big") & (1 << 36) - 1
    unknown = bytes([info[21] & 0xF0, 0, 0, 0, 0])
    head = info[:4] + b"\x80" + info[5:21] + unknown + info[26:]
    first = _after_metadata(file, start, end)
    end = next(find_all(file, (_STREAM,), 8, first, end), end)
    last = _last_frame(file, first, end, head, _TAILS)
    if last is None:
        end = first_marked(file, first, end) or end
        last = _last_frame(file, first, end, head, (*_TAILS, _LONG_TAIL))
    if last is None:  # the decoder says what it misses
        return Part(start, end, samples=samples or None, says_length=False)
    after, frame = last
    before = frame.number * (1 if frame.has_varying_size else int.from_bytes(info[10:12], "big"))
    is_whole = before + frame.size == samples
    rest = read_at(file, after, min(2, end - after))
    is_cut = not is_whole and (rest == b"\xff" or _SYNC.match(rest) is not None)
    problem = "it is cut short in its last frame; what is there was read" if is_cut else None
    return Part(start, after, ((place, unknown),), samples=samples or None, says_length=is_whole, problem=problem)


def _after_metadata(file: BinaryIO, start: int, end: int) -> int:
    """Where the frames of the stream at ``start`` begin."""
    place, is_last = start + 4, False
    while not is_last and len(head := read_at(file, place, 4)) == 4:
        place += 4 + int.from_bytes(head[1:], "big")
        is_last = head[0] >= 0x80
    return min(place, end)


def _last_frame(
    file: BinaryIO, start: int, end: int, head: bytes, tails: Sequence[int]
) -> tuple[int, _Frame] | None:
    """Where the last whole frame of a stream ends, and its header; ``None`` without any in these tails.

    ``head`` is the stream's, up to its frames.
    """
    for size in tails:
        first = max(start, end - size)
        data = read_at(file, first, end - first)
        for match in reversed(list(_SYNC.finditer(data))):
            frame = _read_header(data[match.start() : match.start() + 16])
            if frame is not None:
                last = _end_of_frame(data, match.start(), frame, head)
                if last is not None:
                    return first + last, frame
        if first == start:
            break
    return None


def _end_of_frame(data: bytes, start: int, frame: _Frame, head: bytes) -> int | None:
    """Where the frame at ``start`` ends, ``None`` when it is not whole.

    Its CRC-16 fits there (RFC 9639, 9.3), by chance elsewhere, too: so it is decoded, unless it ends with the data.
    """
    crc = 0
    for place in range(start, min(len(data), start + _TAILS[-1])):
        crc = crc << 8 & 0xFFFF ^ _CRC16[crc >> 8 ^ data[place]]
        if crc == 0 and (place + 1 == len(data) or _decodes(head + data[start : place + 1], frame.size)):
            return place + 1
    return None


def _decodes(data: bytes, samples: int) -> bool:
    """Whether ``data``, a stream of one frame, holds ``samples``."""
    try:
        with SoundStream(io.BytesIO(data)) as file:
            return len(file.read(samples + 1)) == samples
    except soundfile.LibsndfileError:
        return False


def _read_header(data: bytes) -> _Frame | None:
    """The header of a frame: fields that are allowed, and a CRC-8 that fits (RFC 9639, 9.1)."""
    if len(data) < 6:
        return None
    size, rate, channels, depth = data[2] >> 4, data[2] & 15, data[3] >> 4, data[3] >> 1 & 7
    if size == 0 or rate == 15 or channels > 10 or depth == 3 or data[3] & 1:
        return None
    # The number of the frame, coded as UTF-8 codes characters; then sizes and rates that no table has.
    ones = 8 - (data[4] ^ 0xFF).bit_length()
    after = 4 + max(1, ones)
    size_bytes = {6: 1, 7: 2}.get(size, 0)
    length = after + size_bytes + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if ones in (1, 8) or len(data) <= length or _crc8(data[: length + 1]) != 0:
        return None
    number = data[4] & 0x7F >> ones
    for byte in data[5:after]:
        number = number << 6 | byte & 0x3F
    if size_bytes:
        samples = int.from_bytes(data[after : after + size_bytes], "big") + 1
    else:
        samples = 192 if size == 1 else 576 << size - 2 if size < 6 else 256 << size - 8
    return _Frame(number, samples, data[1] & 1 == 1)


def _table(polynomial: int, bits: int) -> list[int]:
    table = []
    for byte in range(256):
        rest = byte << bits - 8
        for _ in range(8):
            rest = (rest << 1 ^ (polynomial if rest >> bits - 1 else 0)) & (1 << bits) - 1
        table.append(rest)
    return table


_CRC8, _CRC16 = _table(0x07, 8), _table(0x8005, 16)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = _CRC8[crc ^ byte]
    return crc
