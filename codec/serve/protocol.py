"""Messages between server and clients; docs/serving.md describes them for authors of clients.

Text messages are JSON objects with a ``type``. Binary messages are audio (to the server: nothing but
16-bit samples) or begin with a header of 8 bytes, little-endian::

    0  1  kind: 1 codes, 2 audio
    1  1  codebooks of codes; 0 for audio
    2  2  0
    4  4  index of the first frame (codes) or sample (audio) since the start
    8     codes: 16 bits each, frame by frame, layer by layer; audio: 16-bit samples of the model's rate
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from codec.audio.kinds import StartWatch, a_file
from codec.audio.pcm import to_pcm
from codec.config import from_dict
from codec.errors import CodecError

VERSION = 1
CODES, SOUND = 1, 2
MIN_RATE, MAX_RATE = 8_000, 96_000

_HEADER = struct.Struct("<BBHI")
_MOST_CODEBOOKS = 255
_CODE = np.dtype("<u2")
_MOST_ENTRIES = 1 << 8 * _CODE.itemsize
_SAMPLE = np.dtype("<i2")


class ClientError(CodecError):
    """A client's mistake; it gets the message, and its connection is closed.

    Attributes:
        code: one word for programs; the message is for people.
        close_code: of the WebSocket.
    """

    def __init__(self, code: str, message: str, close_code: int = 1008):
        super().__init__(message)
        self.code = code
        self.close_code = close_code


@dataclass(frozen=True)
class Start:
    """The first message of a client."""

    mode: Literal["encode", "decode", "both"] = "encode"
    """Audio to codes, codes to audio, or audio to codes and to the audio that they stand for."""
    rate: int | None = None
    """Hz of the client's audio; the model's by default."""
    codebooks: int | None = None
    """Layers to send; all by default. Codes that a client sends say it themselves."""
    fingerprint: str | None = None
    """The model that the client means; needed where codes come from outside."""
    token: str | None = None


@dataclass(frozen=True)
class Agreed:
    """A start with the model's values where it left them open."""

    mode: Literal["encode", "decode", "both"]
    rate: int
    codebooks: int


@dataclass(frozen=True)
class Codebooks:
    """Number of layers to send from now on."""

    value: int


@dataclass(frozen=True)
class End:
    """No more input; what is left is sent, then the connection closed."""

    num_samples: int | None = None
    """Samples of the decoded audio, to trim the last frame."""


@dataclass(frozen=True)
class CodeFrames:
    """Codes ``(n, K)`` that a client sent, from frame ``first`` on."""

    first: int
    codes: np.ndarray


_CONTROLS = {"start": Start, "codebooks": Codebooks, "end": End}


def check_sizes(sizes: Sequence[int]) -> None:
    """Refuse a model whose codes have no room in the messages.

    Raises:
        CodecError: when it has too many codebooks, or one with too many entries.
    """
    if len(sizes) > _MOST_CODEBOOKS:
        raise CodecError(
            f"{len(sizes)} codebooks; the server's messages have room for {_MOST_CODEBOOKS}: serve another model"
        )
    if max(sizes) > _MOST_ENTRIES:
        raise CodecError(
            f"a codebook of {max(sizes)} entries; the server's messages have room for codes of {_MOST_ENTRIES}: "
            "serve another model"
        )


def parse_control(text: str) -> Start | Codebooks | End:
    """The text message of a client.

    Raises:
        ClientError: when it is no JSON object, of an unknown type, or has unknown or wrong keys.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise ClientError("bad_message", "a text message must be a JSON object with a type") from None
    if not isinstance(values, dict):
        raise ClientError("bad_message", "a text message must be a JSON object with a type")
    kind = values.pop("type", None)
    if not isinstance(kind, str) or kind not in _CONTROLS:
        raise ClientError("bad_message", f"unknown type; expected {', '.join(_CONTROLS)}")
    try:
        return from_dict(_CONTROLS[kind], values, kind)
    except CodecError as error:
        # What a client sent comes back to it, but not all of it.
        raise ClientError("bad_message", str(error)[:300]) from None


def check_start(watch: StartWatch, data: bytes) -> None:
    """Refuse the first bytes of a file, which as samples would be noise."""
    if kind := watch.feed(data):
        raise ClientError(
            "bad_sound", f"this is not raw samples but {a_file(kind)}; send mono 16-bit samples of it", 1003
        )


def parse_sound(data: bytes) -> np.ndarray:
    """``(n,)`` float32 in [-1, 1] of a client's 16-bit samples."""
    if len(data) % _SAMPLE.itemsize:
        raise ClientError(
            "odd_bytes", f"{len(data)} bytes are not whole 16-bit samples; send an even number", 1003
        )
    return np.frombuffer(data, _SAMPLE).astype(np.float32) / 32_768.0


def parse_codes(data: bytes, sizes: Sequence[int]) -> CodeFrames:
    """The codes of a client, checked against the sizes of the model's codebooks."""
    if len(data) < _HEADER.size:
        raise ClientError("bad_codes", f"{len(data)} bytes are too short for codes with their header", 1003)
    kind, count, _, first = _HEADER.unpack_from(data)
    if kind != CODES:
        raise ClientError("bad_codes", f"a message of kind {kind}; a decoder takes kind {CODES}, codes", 1003)
    if not 1 <= count <= len(sizes):
        raise ClientError("bad_codes", f"codes of {count} codebooks; the model has 1 to {len(sizes)}")
    if (len(data) - _HEADER.size) % (_CODE.itemsize * count):
        raise ClientError(
            "bad_codes", f"{len(data) - _HEADER.size} bytes are not whole frames of {count} codes", 1003
        )
    codes = np.frombuffer(data, _CODE, offset=_HEADER.size).reshape(-1, count)
    for layer, size in zip(codes.T, sizes, strict=False):
        if layer.size and layer.max() >= size:
            raise ClientError(
                "bad_codes", f"code {layer.max()}; codes must lie in 0..{size - 1}, these are damaged"
            )
    return CodeFrames(first, codes)


def codes_message(codes: np.ndarray, first: int) -> bytes:
    """Codes ``(K, n)`` from frame ``first`` on."""
    return _HEADER.pack(CODES, codes.shape[0], 0, first & 0xFFFFFFFF) + codes.T.astype(_CODE).tobytes()


def sound_message(wav: np.ndarray, first: int) -> bytes:
    """Audio ``(n,)`` float from sample ``first`` on."""
    return _HEADER.pack(SOUND, 0, 0, first & 0xFFFFFFFF) + to_pcm(wav, "s16")


def parse_output(data: bytes) -> tuple[int, int, np.ndarray]:
    """Parse for clients: kind, index of the first frame or sample, codes ``(K, n)`` or samples ``(n,)``."""
    kind, count, _, first = _HEADER.unpack_from(data)
    if kind == CODES:
        return kind, first, np.frombuffer(data, _CODE, offset=_HEADER.size).reshape(-1, count).T
    return kind, first, np.frombuffer(data, _SAMPLE, offset=_HEADER.size)


def control(kind: str, **values: Any) -> str:
    """JSON of a text message."""
    return json.dumps({"type": kind, **values})
