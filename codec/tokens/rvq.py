"""``.rvq`` token files: bit-packed codes behind a small header, safe to keep and to send.

Layout, little-endian (docs/formats.md has it byte by byte)::

    0    4  magic "CRVQ"
    4    1  version
    5    4  H, length of the header
    9    H  header, JSON in UTF-8
    9+H  P  codes, frame by frame, layer by layer, each ceil(log2(codebook_size)) bits, high bit first
    -4   4  CRC-32 of everything before
"""

import json
import struct
import zlib

import numpy as np
import torch

from codec.errors import CodecError
from codec.tokens.clip import TokenClip, bits_per_code

MAGIC = b"CRVQ"
VERSION = 1

_PREFIX = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")


def to_rvq(clip: TokenClip) -> bytes:
    """The bytes of a ``.rvq`` file."""
    header = {
        "num_codebooks": clip.num_codebooks,
        "codebook_size": clip.codebook_size,
        "num_frames": clip.num_frames,
        "num_samples": clip.num_samples,
        "sample_rate": clip.sample_rate,
        "hop_length": clip.hop_length,
        "fingerprint": clip.fingerprint,
        "codec_version": clip.codec_version,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    frame_major = clip.codes.t().reshape(-1).numpy()
    body = _PREFIX.pack(MAGIC, VERSION, len(text)) + text + pack_bits(frame_major, clip.bits_per_code)
    return body + _CRC.pack(zlib.crc32(body))


def from_rvq(data: bytes) -> TokenClip:
    """The clip in the bytes of a ``.rvq`` file.

    Raises:
        CodecError: when a byte is changed, missing or too many, or the version is unknown.
    """
    if data[: len(MAGIC)] != MAGIC:
        raise CodecError("no .rvq file: it does not begin with CRVQ")
    if len(data) < _PREFIX.size + _CRC.size:
        raise CodecError(f"cut short: {len(data)} bytes; get the whole file")
    version = data[len(MAGIC)]
    if version not in _READERS:
        raise CodecError(f".rvq version {version} is unknown; update codec to read it")
    return _READERS[version](data)


def _read_v1(data: bytes) -> TokenClip:
    body = data[: -_CRC.size]
    if zlib.crc32(body) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CodecError("damaged or cut short: the checksum does not match; get the file again")
    start = _PREFIX.size + _PREFIX.unpack_from(body)[2]
    try:
        header = json.loads(body[_PREFIX.size : start])
        frames, layers = header.pop("num_frames"), header.pop("num_codebooks")
        bits = bits_per_code(header["codebook_size"])
        size = -(-frames * layers * bits // 8)
        if len(body) - start != size:
            raise CodecError(f"{len(body) - start} bytes of codes, but the header promises {size}")
        codes = unpack_bits(body[start:], frames * layers, bits).reshape(frames, layers)
        return TokenClip(codes=torch.from_numpy(codes).t().contiguous(), **header)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CodecError(f"the header is wrong ({error}); make the tokens again") from None


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """``(N,)`` non-negative integers below ``2**bits`` as bits, high bit first, zeros at the end."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    spread = (values.astype(np.uint32)[:, None] >> shifts & 1).astype(np.uint8)
    return np.packbits(spread).tobytes()


def unpack_bits(data: bytes, count: int, bits: int) -> np.ndarray:
    """Inverse of :func:`pack_bits`: ``(count,)`` int64."""
    spread = np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).reshape(count, bits)
    values = np.zeros(count, np.int64)
    for column in spread.T:
        values = values << 1 | column
    return values


_READERS = {1: _read_v1}
