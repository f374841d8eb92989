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

from codec.config import from_dict
from codec.errors import CodecError
from codec.tokens.clip import TokenClip, bits_per_code
from codec.tokens.rvq import pack_bits, unpack_bits

MAGIC = b"CRVS"
VERSION = 1

_PREFIX = struct.Struct("<4sBI")
_SHORT = struct.Struct("<H")
_MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class StreamHeader:
    """What a reader needs to know before the first frame."""

    num_codebooks: int
    codebook_size: int
    sample_rate: int
    """Hz of the model."""
    hop_length: int
    """Samples of a frame, at most 65 535."""
    fingerprint: str
    codec_version: str

    def __post_init__(self) -> None:
        for name in ("num_codebooks", "codebook_size", "sample_rate", "hop_length"):
            value = getattr(self, name)
            limit = 0xFFFF if name in ("num_codebooks", "hop_length") else 1 << 31
            if not 1 <= value <= limit:
                raise CodecError(f"{name} must be 1 to {limit} in a token stream, got {value}")

    @property
    def packet_bytes(self) -> int:
        """Bytes of a frame's codes."""
        return -(-self.num_codebooks * bits_per_code(self.codebook_size) // 8)


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
        text = json.dumps(dataclasses.asdict(header), separators=(",", ":")).encode()
        self._file.write(_PREFIX.pack(MAGIC, VERSION, len(text)) + text)
        self._file.flush()

    def write(self, frame: Frame) -> None:
        """One packet; a frame shorter than the hop is the last."""
        bits = bits_per_code(self._header.codebook_size)
        self._packet(frame.num_samples, pack_bits(frame.codes.numpy(), bits))

    def end(self) -> None:
        """Tell the reader that nothing is missing."""
        self._packet(0, b"")

    def _packet(self, num_samples: int, codes: bytes) -> None:
        body = _SHORT.pack(num_samples) + codes
        self._file.write(body + _checksum(body))
        self._file.flush()


class StreamReader:
    """Reads a token stream, packet by packet.

    Raises:
        CodecError: at once when it is no token stream, or one that this version cannot read; while
            iterating, when it is damaged or ends without saying so.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._frames = 0
        self.header = self._read_header()

    def __iter__(self) -> Iterator[Frame]:
        header, last = self.header, False
        count, bits = header.num_codebooks, bits_per_code(header.codebook_size)
        while num_samples := self._samples():
            if last or num_samples > header.hop_length:
                raise self._damaged()
            last = num_samples < header.hop_length
            body = self._take(header.packet_bytes)
            self._check(_SHORT.pack(num_samples) + body)
            codes = torch.from_numpy(unpack_bits(body, count, bits))
            self._frames += 1
            yield Frame(codes, num_samples)
        self._check(_SHORT.pack(0))

    def _read_header(self) -> StreamHeader:
        start = self._file.read(_PREFIX.size)
        if start[: len(MAGIC)] != MAGIC:
            found = f"it begins with {start[:4]!r}" if start else "nothing came"
            raise CodecError(f"no token stream: {found}; pipe `codec stream encode` into this")
        if len(start) < _PREFIX.size:
            raise CodecError("the token stream was cut short in its header; send the whole of it")
        _, version, length = _PREFIX.unpack(start)
        if version != VERSION:
            raise CodecError(f"token stream version {version} is unknown; update codec to read it")
        if length > _MAX_HEADER:
            raise CodecError(f"a header of {length} bytes; the token stream is damaged")
        try:
            return from_dict(StreamHeader, json.loads(self._take(length)), "token stream")
        except (ValueError, TypeError, AttributeError) as error:
            raise CodecError(f"the token stream's header is wrong ({error})") from None

    def _samples(self) -> int:
        return _SHORT.unpack(self._take(_SHORT.size))[0]

    def _check(self, body: bytes) -> None:
        if self._take(2) != _checksum(body):
            raise self._damaged()

    def _take(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) < count:
            raise CodecError(f"the token stream was cut short after {self._frames} frames")
        return data

    def _damaged(self) -> CodecError:
        return CodecError(f"the token stream is damaged after {self._frames} frames; send it again")


def read_stream(file: BinaryIO) -> TokenClip:
    """All of a token stream that was kept in a file, as one clip.

    Raises:
        CodecError: when it is damaged or cut short, holds no frames, or something follows its end.
    """
    reader = StreamReader(file)
    frames = list(reader)
    if not frames:
        raise CodecError("the token stream ended before its first frame")
    if file.read(1):
        raise CodecError("something follows the end of the token stream; decode joined streams one by one")
    header = reader.header
    return TokenClip(
        codes=torch.stack([frame.codes for frame in frames], dim=1),
        num_samples=sum(frame.num_samples for frame in frames),
        sample_rate=header.sample_rate,
        hop_length=header.hop_length,
        codebook_size=header.codebook_size,
        fingerprint=header.fingerprint,
        codec_version=header.codec_version,
    )


def _checksum(body: bytes) -> bytes:
    # Not from zero: a run of zero bytes would be a valid packet.
    return _SHORT.pack(binascii.crc_hqx(body, 0xFFFF))
