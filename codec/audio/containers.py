"""Audio files made of chunks, whose headers say how many bytes of audio follow."""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from codec.audio.beginnings import begins_at, first_marked, next_recording
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
        is_last: whether a reader is shown nothing after that chunk, as libsndfile would take it for audio.
    """

    first: int
    total: int | None
    name_bytes: int
    size: str
    counts_header: bool
    align: int
    data: bytes
    skipped: int
    is_last: bool = False

    @property
    def header(self) -> int:
        """Bytes of a chunk's name and size."""
        return self.name_bytes + struct.calcsize(self.size)


_RIFF = Grammar(12, 4, 4, "<I", False, 2, b"data", 0)
_RIFX = Grammar(12, 4, 4, ">I", False, 2, b"data", 0)
_AIFF = Grammar(12, 4, 4, ">I", False, 2, b"SSND", 8)
_CAF = Grammar(8, None, 4, ">q", False, 1, b"data", 4)
_W64 = Grammar(40, 16, 16, "<Q", True, 8, b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0O\x8e\xdb\x8a", 0, is_last=True)
_GRAMMARS = {
    b"RIFF": _RIFF, b"RF64": _RIFF, b"BW64": _RIFF, b"RIFX": _RIFX, b"FORM": _AIFF, b"caff": _CAF,
    b"riff": _W64,
}  # fmt: skip
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
    if magic in _SIMPLE:
        return _SIMPLE[magic](file, start, end)
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
    """Chunk by chunk, from the beginning of one on, as long as what follows looks like one."""
    first = place
    while place + grammar.header <= end:
        head = read_at(file, place, grammar.header)
        name, size = head[: grammar.name_bytes], struct.unpack(grammar.size, head[grammar.name_bytes :])[0]
        if not _is_name(name[:4]) or begins_at(file, place):
            return
        content = place + grammar.header
        if grammar.counts_header:
            size = max(0, size - grammar.header)
        yield _Chunk(name, content, size, place + grammar.name_bytes)
        if size < 0:
            return
        place = content + size
        place += -(place - first) % grammar.align


def _sound_part(
    file: BinaryIO, grammar: Grammar, chunk: _Chunk, promised: int, limits: tuple[int, int], is_mpeg: bool
) -> Part:
    start, end = limits
    unknown = _is_placeholder(promised, grammar) or (
        promised <= grammar.skipped and not _only_chunks(file, grammar, chunk.start, end)
    )
    if unknown and not is_mpeg:
        end = first_marked(file, chunk.start, end) or end
    room = max(0, end - chunk.start)
    if unknown or promised > room:
        held, part_end = min(room, _LARGEST) if grammar.header == 8 else room, end
    else:
        held, part_end = promised, _end_of(file, grammar, chunk.start, promised, end)
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
    sound = start + offset
    if _is_placeholder(promised, _AIFF) or promised == 0:
        patch = (start + 8, b"\xff\xff\xff\xff")
        end = first_marked(file, max(sound, start + 24), end) or end
        return Part(start, end, patches=(patch,), says_length=promised > 0)
    room = max(0, end - sound)
    if promised <= room:
        end = next_recording(file, sound + promised, end) or end
    return Part(start, end, promised=promised, held=min(room, promised))


def _read_nist(file: BinaryIO, start: int, end: int) -> Part | None:
    """NIST SPHERE. libsndfile takes all that follows its header, which is text, for audio."""
    head = read_at(file, start, 1024)
    size = re.match(rb"NIST_1A\n *(\d+)\n", head)
    fields = {name: int(number) for name, number in re.findall(rb"^(\w+) -i (\d+)", head, re.MULTILINE)}
    if size is None:
        return None
    sound = start + max(16, int(size[1]))
    promised = fields.get(b"sample_count", 0) * fields.get(b"channel_count", 1) * fields.get(b"sample_n_bytes", 0)
    if promised == 0:
        return Part(start, first_marked(file, sound, end) or end, says_length=False)
    return Part(start, min(end, sound + promised), promised=promised, held=max(0, min(end - sound, promised)))


_SIMPLE = {b".snd": _read_au, b"NIST": _read_nist}
"""Formats of one header and then the audio."""


def _is_placeholder(size: int, grammar: Grammar) -> bool:
    """Whether it is what programs write that cannot go back: a largest number, or nearly that."""
    if struct.calcsize(grammar.size) == 8:
        return size < 0 or size >= 1 << 62
    return 0x7FFF_E000 <= size <= 0x8000_0FFF or size >= 0xFFFF_E000


def _only_chunks(file: BinaryIO, grammar: Grammar, place: int, end: int) -> bool:
    """Whether nothing but whole chunks follows, so that there really is no audio."""
    for chunk in _chunks(file, grammar, place, end):
        place = chunk.start + max(0, chunk.size)
    return place >= end or begins_at(file, place)


def _end_of(file: BinaryIO, grammar: Grammar, sound: int, size: int, end: int) -> int:
    """Where a recording ends whose chunk of audio, of ``size`` bytes, begins at ``sound``.

    That is at the next one, which may come without the byte that pads the chunk, or with the file.
    """
    after = sound + size
    if grammar.is_last:
        return after
    if not begins_at(file, after):
        for chunk in _chunks(file, grammar, after + -size % grammar.align, end):
            if not 0 <= chunk.size <= end - chunk.start:
                break
            after = chunk.start + chunk.size
    return next_recording(file, after, end) or end


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(32 <= byte < 127 for byte in name)
