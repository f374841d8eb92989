"""Kinds of files by their first bytes."""

import re
from dataclasses import dataclass

START_BYTES = 12
"""Bytes that identify every kind except MP3 without a tag, which needs its second frame."""
MPEG_BYTES = 4096
"""Bytes that hold two MPEG frames of any bitrate."""

_SIGNATURES = (
    (0, b"RIFF", "wav"),
    (0, b"RIFX", "wav"),
    (0, b"RF64", "rf64"),
    (0, b"BW64", "rf64"),
    (0, b"riff\x2e\x91\xcf\x11", "w64"),
    (0, b"OggS", "ogg"),
    (0, b"fLaC", "flac"),
    (0, b"FORM", "aiff"),
    (0, b".snd", "au"),
    (0, b"caff", "caf"),
    (0, b"NIST_1A", "sph"),
    (0, b"Creative Voice", "voc"),
    (4, b"ftyp", "m4a"),
    (0, b"\x1a\x45\xdf\xa3", "webm"),
    (0, b"#!AMR", "amr"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wma"),
    (0, b"wvpk", "wv"),
    (0, b"MAC ", "ape"),
    (0, b"TTA1", "tta"),
    (0, b"CRVS", "crvs"),
    (0, b"CRVQ", "rvq"),
    (0, b"PK\x03\x04", "pt"),
)
_ID3 = re.compile(rb"ID3[\x02-\x04].[\x00-\xff][\x00-\x7f]{4}", re.DOTALL)
_ADTS = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]", re.DOTALL)

FOREIGN_KINDS = ("m4a", "webm", "amr", "wma", "wv", "ape", "tta", "aac", "sph", "voc")
"""Audio that ffmpeg can read where libsndfile cannot."""

TOKEN_KINDS = ("crvs", "rvq", "pt")

_AN = re.compile(r"[aeio]|(mp|rf|rv|sp|m4)")
"""How the names begin that are spoken with a vowel first."""


def a_file(kind: str) -> str:
    """``a wav file``, ``an aac file``."""
    return f"{'an' if _AN.match(kind) else 'a'} {kind} file"


@dataclass(frozen=True)
class MpegFrame:
    """The fields in the four bytes of an MPEG audio frame's header (ISO 11172-3, ISO 13818-3).

    Attributes:
        size: bytes of the frame with its header.
        samples: of each channel.
        tag_offset: of a Xing or Info tag in the frame.
        stream: what the frames of one stream have in common: version, layer and rate.
    """

    size: int
    samples: int
    tag_offset: int
    stream: tuple[int, int, int]


_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbps by (version 1 or 2 and 2.5, layer)."""
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def mpeg_frame(data: bytes) -> MpegFrame | None:
    """The frame that begins with these bytes, ``None`` when none does (or one of free bitrate)."""
    if len(data) < 4 or data[0] != 0xFF or data[1] & 0xE0 != 0xE0:
        return None
    version, layer = data[1] >> 3 & 3, 4 - (data[1] >> 1 & 3)
    bitrate, rate, padding = data[2] >> 4, data[2] >> 2 & 3, data[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or bitrate in (0, 15):
        return None
    generation = 1 if version == 3 else 2
    hertz = _RATES[version][rate]
    samples = {1: 384, 2: 1152, 3: 1152 if generation == 1 else 576}[layer]
    slot = 4 if layer == 1 else 1
    kbps = _BITRATES[generation, layer][bitrate - 1]
    size = (samples // 8 * 1000 * kbps // hertz // slot + padding) * slot
    is_mono = data[3] >> 6 == 3
    side = {(1, False): 32, (1, True): 17, (2, False): 17, (2, True): 9}[generation, is_mono]
    return MpegFrame(size, samples, 4 + side, (version, layer, hertz))


def starts_mpeg(data: bytes) -> bool:
    """Whether ``data`` begins with two frames of one MPEG stream."""
    first = mpeg_frame(data)
    if first is None:
        return False
    second = mpeg_frame(data[first.size : first.size + 4])
    return second is not None and second.stream == first.stream


def sound_kind(start: bytes) -> str | None:
    """Name of the kind of file that begins so, ``None`` for raw samples and anything else.

    The name is a suffix without its dot. ``start`` should have :data:`MPEG_BYTES`, where there are as
    many; with :data:`START_BYTES` MP3 without an ID3 tag is not seen.
    """
    for offset, signature, kind in _SIGNATURES:
        if start.startswith(signature, offset):
            return kind
    if _ID3.match(start) or starts_mpeg(start):
        return "mp3"
    return "aac" if _starts_adts(start) else None


class StartWatch:
    """Looks at the first bytes of what should be raw samples, as they come.

    Attributes:
        done: whether it has seen enough.
    """

    def __init__(self) -> None:
        self._start = b""
        self.done = False

    def feed(self, data: bytes) -> str | None:
        """The kind of file that the bytes so far begin, ``None`` when they can be samples."""
        if self.done:
            return None
        self._start += data[: MPEG_BYTES - len(self._start)]
        is_unsure = mpeg_frame(self._start) is not None or _ADTS.match(self._start) is not None
        self.done = len(self._start) >= (MPEG_BYTES if is_unsure else START_BYTES)
        return sound_kind(self._start)


def _starts_adts(data: bytes) -> bool:
    """Whether ``data`` begins with two frames of AAC."""
    if len(data) < 7 or not _ADTS.match(data):
        return False
    size = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return size >= 7 and _ADTS.match(data, size) is not None
