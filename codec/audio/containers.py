"""Audio files made of chunks, whose headers say how many bytes of audio follow."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from codec.audio.views import Part, read_at


@dataclass(frozen=True)
class Grammar:
    """How a family of formats lays out its chunks.

    Attributes:
        first: place of the first chunk.
        total: place of the size of the whole, ``None`` where there is none.
        name_bytes: of a chunk's name; its size follows.
        size: of a chunk, as :mod:`struct` writes it.
        counts_header: whether a chunk's size counts its name and size too.
        align: chunks begin at multiples of it.
        data: name of the chunk with the audio.
        skipped: bytes between that chunk's size and the audio, which its size counts.
    """

    first: int
    total: int | None
    name_bytes: int
    size: str
    counts_header: bool
    align: int
    data: bytes
    skipped: int

    @property
    def header(self) -> int:
        """Bytes of a chunk's name and size."""
        return self.name_bytes + struct.calcsize(self.size)


_RIFF = Grammar(12, 4, 4, "<I", False, 2, b"data", 0)
_RIFX = Grammar(12, 4, 4, ">I", False, 2, b"data", 0)
_AIFF = Grammar(12, 4, 4, ">I", False, 2, b"SSND", 8)
_CAF = Grammar(8, None, 4, ">q", False, 1, b"data", 4)
_W64 = Grammar(40, 16, 16, "<Q", True, 8, b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", 0)
_GRAMMARS = {
    b"RIFF": _RIFF, b"RF64": _RIFF, b"BW64": _RIFF, b"RIFX": _RIFX, b"FORM": _AIFF, b"caff": _CAF,
    b"riff": _W64,
}  # fmt: skip
_FURTHER = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff", b"riff", b".snd", b"OggS", b"fLaC")
"""Beginnings of another file after the first."""

_MPEG_TAGS = (0x50, 0x55)
"""WAVE_FORMAT_MPEG and WAVE_FORMAT_MPEGLAYER3."""
_LARGEST = 0xFFFF_FFFE


@dataclass(frozen=True)
class _Chunk:
    name: bytes
    start: int
    """Offset of the chunk's content in bytes."""
    size: int
    """Size of the content in bytes, according to the file."""
    size_place: int


def read_container(file: BinaryIO, start: int, end: int) -> Part | None:
    """The recording that begins at ``start``, up to a further one or the end of the file.

    ``None`` where no audio chunk is found: libsndfile may know better.
    """
    magic = read_at(file, start, 4)
    if magic == b".snd":
        return _read_au(file, start, end)
    grammar = _GRAMMARS[magic]
    sizes, mpeg = None, False
    for chunk in _chunks(file, grammar, start + grammar.first, end):
        if chunk.name == b"ds64":
            sizes = struct.unpack("<QQ", read_at(file, chunk.start, 16).ljust(16, b"\0"))
        if chunk.name == b"fmt ":
            mpeg = struct.unpack("<H", read_at(file, chunk.start, 2).ljust(2, b"\0"))[0] in _MPEG_TAGS
        if chunk.name == grammar.data:
            promised = sizes[1] if sizes and chunk.size == 0xFFFF_FFFF else chunk.size
            return _sound_part(file, grammar, chunk, promised, (start, end), mpeg and grammar is _RIFF)
    return None


def _chunks(file: BinaryIO, grammar: Grammar, place: int, end: int) -> Iterator[_Chunk]:
    """Chunk by chunk, as long as what follows looks like one."""
    while place + grammar.header <= end:
        head = read_at(file, place, grammar.header)
        name, size = head[: grammar.name_bytes], struct.unpack(grammar.size, head[grammar.name_bytes :])[0]
        if not _is_name(name[:4]) or name[:4] in _FURTHER:
            return
        content = place + grammar.header
        if grammar.counts_header:
            size = max(0, size - grammar.header)
        yield _Chunk(name, content, size, place + grammar.name_bytes)
        if size < 0:
            return
        place = content + size
        place += -place % grammar.align


def _sound_part(
    file: BinaryIO, grammar: Grammar, chunk: _Chunk, promised: int, limits: tuple[int, int], is_mpeg: bool
) -> Part:
    start, end = limits
    room = max(0, end - chunk.start)
    unknown = _is_placeholder(promised, grammar) or (
        promised <= grammar.skipped and not _only_chunks(file, grammar, chunk.start, end)
    )
    if unknown or promised > room:
        held, part_end = min(room, _LARGEST) if grammar.header == 8 else room, end
    else:
        held, part_end = promised, _end_of(file, grammar, chunk.start + promised, end)
    if is_mpeg:
        # As bare frames; the rest of the container would only confuse the search for them.
        return Part(chunk.start, chunk.start + held, is_mpeg=True, says_length=promised > 0)
    return Part(
        start,
        part_end,
        patches=() if promised == held else tuple(_patches(grammar, chunk, start, held)),
        promised=0 if unknown else promised - grammar.skipped,
        held=held - grammar.skipped,
        says_length=not (unknown and promised <= grammar.skipped),
        problem=f"{room - held} bytes after the first 4 GiB were not read"
        if held < room and unknown
        else None,
    )


def _patches(grammar: Grammar, chunk: _Chunk, start: int, held: int) -> Iterator[tuple[int, bytes]]:
    """The sizes that the file should have."""
    extra = grammar.header if grammar.counts_header else 0
    yield chunk.size_place, struct.pack(grammar.size, held + extra)
    if grammar.total is not None:
        whole = chunk.start - start + held - (0 if grammar.counts_header else 8)
        top = _LARGEST if struct.calcsize(grammar.size) == 4 else whole
        yield start + grammar.total, struct.pack(grammar.size, min(whole, top))


def _read_au(file: BinaryIO, start: int, end: int) -> Part | None:
    head = read_at(file, start, 12)
    if len(head) < 12:
        return None
    offset, promised = struct.unpack(">II", head[4:])
    room = max(0, end - start - offset)
    if _is_placeholder(promised, _AIFF) or promised == 0:
        patch = (start + 8, b"\xff\xff\xff\xff")
        return Part(start, end, patches=(patch,), says_length=promised > 0)
    after = start + offset + promised
    if promised <= room and read_at(file, after, 4) in _FURTHER:
        end = after
    return Part(start, end, promised=promised, held=min(room, promised))


def _is_placeholder(size: int, grammar: Grammar) -> bool:
    """Whether it is what programs write that cannot go back: a largest number, or nearly that."""
    if struct.calcsize(grammar.size) == 8:
        return size < 0 or size >= 1 << 62
    return 0x7FFF_E000 <= size <= 0x8000_0FFF or size >= 0xFFFF_E000


def _only_chunks(file: BinaryIO, grammar: Grammar, place: int, end: int) -> bool:
    """Whether nothing but whole chunks follows, so that there really is no audio."""
    for chunk in _chunks(file, grammar, place, end):
        place = chunk.start + max(0, chunk.size)
    return place >= end or read_at(file, place, 4) in _FURTHER


def _end_of(file: BinaryIO, grammar: Grammar, place: int, end: int) -> int:
    """Where a recording ends whose audio ends at ``place``: at the next one, or with the file."""
    place += -place % grammar.align
    for chunk in _chunks(file, grammar, place, end):
        place = chunk.start + chunk.size
        place += -place % grammar.align
    return place if read_at(file, place, 4) in _FURTHER else end


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)
