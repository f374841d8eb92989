"""``.rvq`` token files: bit-packed codes behind a small header, safe to keep and to send.

Layout, little-endian (docs/formats.md has it byte by byte)::

    0    4  magic "CRVQ"
    4    1  version
    5    4  H, length of the header
    9    H  header, JSON in UTF-8
    9+H  P  codes, frame by frame, layer by layer, each ceil(log2(codebook_size)) bits, high bit first
    -4   4  CRC-32 of everything before

Version 2 is written where the codebooks differ in size: its header has ``codebook_sizes``, a list, in place of
``codebook_size``, and each code has the bits of its layer.
"""

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from codec.errors import CodecError
from codec.quantizers.base import bits_per_code
from codec.tokens.fields import fields_of, tokens_of
from codec.tokens.tokens import Tokens

MAGIC = b"CRVQ"
VERSION = 2

_PREFIX = struct.Struct("<4sBI")
_CRC = struct.Struct("<I")


def to_rvq(tokens: Tokens) -> bytes:
    """The bytes of a ``.rvq`` file of one clip."""
    fields = fields_of(tokens)
    version, sizes = (2, "codebook_sizes") if "codebook_sizes" in fields else (1, "codebook_size")
    codes = fields["codes"]
    header = {"num_codebooks": len(codes), sizes: fields[sizes], "num_frames": codes.shape[1]}
    for name in ("num_samples", "sample_rate", "hop_length", "fingerprint", "codec_version"):
        header[name] = fields[name]
    text = json.dumps(header, separators=(",", ":")).encode()
    packed = pack_frames(codes.t().numpy(), tokens.codebook_sizes)
    body = _PREFIX.pack(MAGIC, version, len(text)) + text + packed
    return body + _CRC.pack(zlib.crc32(body))


def from_rvq(data: bytes) -> Tokens:
    """The tokens in the bytes of a ``.rvq`` file.

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


def _read(data: bytes) -> Tokens:
    body = data[: -_CRC.size]
    if zlib.crc32(body) != _CRC.unpack(data[-_CRC.size :])[0]:
        raise CodecError("damaged or cut short: the checksum does not match; get the file again")
    start = _PREFIX.size + _PREFIX.unpack_from(body)[2]
    try:
        header = json.loads(body[_PREFIX.size : start])
        frames, layers = header.pop("num_frames"), header.pop("num_codebooks")
        sizes = _sizes(data[len(MAGIC)], header, layers)
        size = -(-frames * sum(bits_per_code(entries) for entries in sizes) // 8)
        if len(body) - start != size:
            raise CodecError(f"{len(body) - start} bytes of codes, but the header promises {size}")
        codes = unpack_frames(body[start:], frames, sizes)
        return tokens_of(header | {"codes": torch.from_numpy(codes).t().contiguous()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise CodecError(f"the header is wrong ({error}); make the tokens again") from None


def _sizes(version: int, header: dict[str, Any], layers: int) -> tuple[int, ...]:
    """Entries of each codebook; the header of version 2 gets the keys of all files."""
    if version == 1:
        if "codebook_sizes" in header:
            raise KeyError("codebook_sizes")
        return (header["codebook_size"],) * layers
    sizes = header["codebook_sizes"] = tuple(header["codebook_sizes"])
    header["codebook_size"] = max(sizes)
    if len(sizes) != layers:
        raise ValueError(f"{layers} layers of codes, but {len(sizes)} codebook_sizes")
    return sizes


def pack_frames(codes: np.ndarray, sizes: Sequence[int]) -> bytes:
    """Codes ``(T, K)`` as bits, frame by frame, each with the bits of its layer; zeros at the end."""
    if len(set(sizes)) == 1:
        return pack_bits(codes.reshape(-1), bits_per_code(sizes[0]))
    columns = [_spread(column, bits_per_code(size)) for column, size in zip(codes.T, sizes, strict=True)]
    return np.packbits(np.concatenate(columns, axis=1)).tobytes()


def unpack_frames(data: bytes, frames: int, sizes: Sequence[int]) -> np.ndarray:
    """Inverse of :func:`pack_frames`: ``(frames, K)`` int64."""
    widths = [bits_per_code(size) for size in sizes]
    if len(set(sizes)) == 1:
        return unpack_bits(data, frames * len(sizes), widths[0]).reshape(frames, len(sizes))
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=frames * sum(widths)).reshape(frames, -1)
    columns = np.split(bits, np.cumsum(widths)[:-1], axis=1)
    return np.stack([_gather(column) for column in columns], axis=1)


def pack_bits(values: np.ndarray, bits: int) -> bytes:
    """``(N,)`` non-negative integers below ``2**bits`` as bits, high bit first, zeros at the end."""
    return np.packbits(_spread(values, bits)).tobytes()


def unpack_bits(data: bytes, count: int, bits: int) -> np.ndarray:
    """Inverse of :func:`pack_bits`: ``(count,)`` int64."""
    return _gather(np.unpackbits(np.frombuffer(data, np.uint8), count=count * bits).reshape(count, bits))


def _spread(values: np.ndarray, bits: int) -> np.ndarray:
    """``(N,)`` to ``(N, bits)`` zeros and ones."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    return (values.astype(np.uint32)[:, None] >> shifts & 1).astype(np.uint8)


def _gather(spread: np.ndarray) -> np.ndarray:
    """Inverse of :func:`_spread`, int64."""
    values = np.zeros(len(spread), np.int64)
    for column in spread.T:
        values = values << 1 | column
    return values


_READERS = {1: _read, 2: _read}
