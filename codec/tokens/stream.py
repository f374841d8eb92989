"""Token streams: a header, then one packet per frame, for pipes and sockets.

Layout, little-endian (docs/streaming.md has it byte by byte)::

    0    4  magic "CRVS"
    4    1  version
    5    4  H, length of the header
    9    H  header, JSON in UTF-8
    then packets:
    0    2  samples of the frame: hop_length, or fewer in the last one; 0 ends the stream, without codes
    2    P  codes, layer by layer, each ceil(log2(codebook_size)) bits, high bit first
    2+P  2  CRC-16 (CCITT) of the packet before

Version 2 is written where the codebooks differ in size: its header has ``codebook_sizes``, a list, too, and each
code has the bits of its layer.
"""

import binascii
import dataclasses
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import torch
from torch import Tensor

from codec.audio.kinds import TOKEN_KINDS, a_file, sound_kind
from codec.config import from_dict
from codec.errors import CodecError
from codec.quantizers.base import bits_per_code
from codec.tokens.fields import tokens_of
from codec.tokens.rvq import pack_frames, unpack_frames
from codec.tokens.tokens import Tokens

MAGIC = b"CRVS"
VERSION = 2

_PREFIX = struct.Struct("<4sBI")
_SHORT = struct.Struct("<H")
_MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class StreamHeader:
    """The facts that a reader needs before the first frame."""

    num_codebooks: int
    codebook_size: int
    sample_rate: int
    """Hz of the model."""
    hop_length: int
    """Samples of a frame, at most 65 535."""
    fingerprint: str
    codec_version: str
    codebook_sizes: tuple[int, ...] = ()
    """Entries of each codebook, where they differ."""

    def __post_init__(self) -> None:
        if self.codebook_sizes and len(self.codebook_sizes) != self.num_codebooks:
            raise CodecError(f"{len(self.codebook_sizes)} codebook_sizes of {self.num_codebooks} codebooks")
        if not all(1 <= size <= self.codebook_size for size in self.codebook_sizes):
            raise CodecError(f"codebook_sizes {list(self.codebook_sizes)} do not fit {self.codebook_size}")
        for name in ("num_codebooks", "codebook_size", "sample_rate", "hop_length"):
            value = getattr(self, name)
            limit = 0xFFFF if name in ("num_codebooks", "hop_length") else 1 << 31
            if not 1 <= value <= limit:
                raise CodecError(f"{name} must be 1 to {limit} in a token stream, got {value}")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return self.codebook_sizes or (self.codebook_size,) * self.num_codebooks

    @property
    def packet_bytes(self) -> int:
        """Bytes of a frame's codes."""
        return -(-sum(bits_per_code(size) for size in self.sizes) // 8)


@dataclass(frozen=True)
class Frame:
    """One frame: its codes ``(K,)`` int64 and how many samples it stands for."""

    codes: Tensor
    num_samples: int


class StreamWriter:
    """Writes a token stream; every packet is flushed."""

    def __init__(self, file: BinaryIO, header: StreamHeader):
        self._file = file
        self._header = header
        values = dataclasses.asdict(header)
        if not header.codebook_sizes:
            del values["codebook_sizes"]
        text = json.dumps(values, separators=(",", ":")).encode()
        version = VERSION if header.codebook_sizes else 1
        self._file.write(_PREFIX.pack(MAGIC, version, len(text)) + text)
        self._file.flush()

    def write(self, frame: Frame) -> None:
        """One packet; a frame shorter than the hop is the last."""
        self._packet(frame.num_samples, pack_frames(frame.codes.numpy()[None], self._header.sizes))

    def end(self) -> None:
        """Signal to the reader that nothing is missing."""
        self._packet(0, b"")

    def _packet(self, num_samples: int, codes: bytes) -> None:
        body = _SHORT.pack(num_samples) + codes
        self._file.write(body + _checksum(body))
        self._file.flush()


class StreamReader:
    """Reads a token stream, packet by packet.

    Raises:
        CodecError: at once when it is not a token stream, or one that this version cannot read; while
            iterating, when it is damaged or ends without saying so.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._frames = 0
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Frame]:
        header, last = self.header, False
        while num_samples := self._samples():
            if last or num_samples > header.hop_length:
                raise self._damaged()
            last = num_samples < header.hop_length
            body = self._take(header.packet_bytes)
            self._check(_SHORT.pack(num_samples) + body)
            codes = torch.from_numpy(unpack_frames(body, 1, header.sizes)[0])
            self._frames += 1
            yield Frame(codes, num_samples)
        self._check(_SHORT.pack(0))

    def check_end(self) -> None:
        """Raise a :class:`CodecError` when something follows the end; on a pipe, wait until it is closed."""
        if self._file.read(1):
            raise CodecError("something follows the end of the token stream; decode joined streams one by one")

    def _read_header(self) -> StreamHeader:
        start = self._file.read(_PREFIX.size)
        if not start or start[: len(MAGIC)] != MAGIC[: len(start)]:
            raise CodecError(f"no token stream: {_other(start)}")
        if len(start) < _PREFIX.size:
            raise CodecError("the token stream was cut short in its header; send the whole of it")
        _, version, length = _PREFIX.unpack(start)
        if not 1 <= version <= VERSION:
            raise CodecError(f"token stream version {version} is unknown; update codec to read it")
        if length > _MAX_HEADER:
            raise CodecError(f"a header of {length} bytes; the token stream is damaged")
        try:
            return from_dict(StreamHeader, json.loads(self._take(length)), "token stream")
        except (ValueError, RecursionError):
            raise CodecError("the token stream is damaged in its header; send it again") from None
        except (TypeError, AttributeError) as error:
            raise CodecError(f"the token stream's header is wrong ({error})") from None

    def _samples(self) -> int:
        return _SHORT.unpack(self._take(_SHORT.size))[0]

    def _check(self, body: bytes) -> None:
        if self._take(2) != _checksum(body):
            raise self._damaged()

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise CodecError(f"the token stream was cut short after {self._frames} frames; send the whole of it")
        return data

    def _damaged(self) -> CodecError:
        return CodecError(f"the token stream is damaged after {self._frames} frames; send it again")


def read_stream(file: BinaryIO) -> Tokens:
    """All of a token stream that was kept in a file, as one clip.

    Raises:
        CodecError: when it is damaged or cut short, holds no frames, or something follows its end.
    """
    reader = StreamReader(file)
    frames = list(reader)
    if not frames:
        raise CodecError("the token stream ended before its first frame")
    reader.check_end()
    fields = dataclasses.asdict(reader.header)
    del fields["num_codebooks"]
    if not fields["codebook_sizes"]:
        del fields["codebook_sizes"]
    codes = torch.stack([frame.codes for frame in frames], dim=1)
    return tokens_of(fields | {"codes": codes, "num_samples": sum(frame.num_samples for frame in frames)})


def _other(start: bytes) -> str:
    """What came in place of a token stream, and what to do."""
    if not start:
        return "nothing came; pipe `codec stream encode` into this"
    kind = sound_kind(start)
    if kind is None:
        return "its first bytes are not CRVS; pipe `codec stream encode` into this"
    if kind in TOKEN_KINDS:
        return f"this is {a_file(kind)}; decode it with codec decode"
    return f"this is {a_file(kind)}; pipe `codec stream encode` into this"


def _checksum(body: bytes) -> bytes:
    # Not from zero: a run of zero bytes would be a valid packet.
    return _SHORT.pack(binascii.crc_hqx(body, 0xFFFF))
