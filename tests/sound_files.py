"""Audio files built byte by byte, as strange as those that people have."""

import io
import struct

import numpy as np
import soundfile

from codec.audio.kinds import mpeg_frame


def encoded(wav: np.ndarray, rate: int = 16_000, **format: str) -> bytes:
    """A whole sound file; ``format`` as soundfile names it."""
    file = io.BytesIO()
    soundfile.write(file, wav, rate, **format)
    return file.getvalue()


def mp3(wav: np.ndarray, rate: int = 16_000, tag: bool = True) -> bytes:
    """MP3, with or without its Xing frame."""
    data = encoded(wav, rate, format="MP3")
    return data if tag else data[mpeg_frame(data).size :]


def vbr_mp3(quiet: np.ndarray, loud: np.ndarray, rate: int = 16_000) -> bytes:
    """MP3 without a Xing frame, of which the beginning is of another bitrate than the rest.

    libsndfile takes the length from the first frame's bitrate.
    """
    parts = []
    for wav, level in ((loud, 0.0), (quiet, 0.8)):
        file = io.BytesIO()
        soundfile.write(file, wav, rate, format="MP3", bitrate_mode="CONSTANT", compression_level=level)
        data = file.getvalue()
        parts.append(data[mpeg_frame(data).size :])
    return b"".join(parts)


def with_sizes(data: bytes, whole: int, sound: int) -> bytes:
    """A wav with other numbers in the header, modulo 2**32."""
    changed, place = bytearray(data), data.index(b"data")
    changed[4:8] = struct.pack("<I", whole & 0xFFFF_FFFF)
    changed[place + 4 : place + 8] = struct.pack("<I", sound & 0xFFFF_FFFF)
    return bytes(changed)


def flac_of_a_pipe(data: bytes) -> bytes:
    """FLAC whose header promises no number of samples."""
    return data[:21] + bytes([data[21] & 0xF0, 0, 0, 0, 0]) + data[26:]


def mp3_in_wav(frames: bytes, rate: int = 16_000) -> bytes:
    """MPEG frames in the chunk of audio of a wav (format 0x55)."""
    format = struct.pack("<HHIIHHHHIHHH", 0x55, 1, rate, 4_000, 1, 0, 12, 1, 2, 144, 1, 1_393)
    chunks = b"fmt " + struct.pack("<I", len(format)) + format + b"data" + struct.pack("<I", len(frames))
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) + len(frames)) + b"WAVE" + chunks + frames


APE = b"APETAGEX" + struct.pack("<IIII", 2_000, 50, 1, 0xA000_0000) + bytes(58)
ID3V1 = b"TAG" + b"A title of thirty characters .." + bytes(94)
"""Tags that stand at the end of a file."""


def joinable(kind: str, wav: np.ndarray) -> bytes:
    """A whole file of ``kind``: a format and a subtype, and perhaps "bare" or "pipe"."""
    format, subtype, *how = kind.split()
    data = encoded(wav, format=format, subtype=subtype)
    if "bare" in how:
        return data[mpeg_frame(data).size :]
    if "pipe" in how:
        return flac_of_a_pipe(data) if format == "FLAC" else with_sizes(data, 0xFFFF_FFFF, 0xFFFF_FFFF)
    return data


JOINABLE = (
    "WAV PCM_U8", "WAV PCM_16", "WAV PCM_24", "WAV PCM_24 pipe", "WAVEX PCM_24", "RF64 PCM_24", "W64 PCM_U8",
    "W64 PCM_24", "AIFF PCM_24", "AU PCM_24", "CAF PCM_24", "CAF ALAC_16", "NIST PCM_16", "NIST PCM_24",
    "FLAC PCM_16", "FLAC PCM_24", "FLAC PCM_16 pipe", "OGG VORBIS", "OGG OPUS", "MP3 MPEG_LAYER_III",
    "MP3 MPEG_LAYER_III bare",
)  # fmt: skip
"""What :func:`joinable` makes: every kind of file that has a suffix of audio."""


def id3(size: int = 1_000) -> bytes:
    """An ID3v2 tag with nothing in it."""
    return b"ID3\x04\0\0\0\0" + bytes([size >> 7, size & 127]) + bytes(size)
