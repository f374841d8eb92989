"""The places of the recordings in a file, and the lengths that its headers promise.

A file may hold several, one after the other (joined files, chained Ogg), and what its header says
of their length may be wrong: a recorder died before it wrote the sizes, a pipe could not go back to
write them, or the end of the file is missing.
"""

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from codec.audio.beginnings import first_marked, next_recording, skip_tags
from codec.audio.bitstreams import find_mpeg, find_ogg
from codec.audio.containers import read_container
from codec.audio.flac import read_flac
from codec.audio.kinds import FOREIGN_KINDS, MPEG_BYTES, TOKEN_KINDS, sound_kind
from codec.audio.views import Part, read_at
from codec.errors import CodecError

_CONTAINERS = ("wav", "rf64", "w64", "aiff", "au", "caf", "sph")
_READ_KINDS = (*_CONTAINERS, "flac", "ogg", "mp3", "voc")
"""Kinds that are read after another recording."""


def find_parts(file: BinaryIO) -> list[Part]:
    """The recordings of an open file, in order; one when nothing is known about its kind."""
    end = file.seek(0, os.SEEK_END)
    parts: list[Part] = []
    place: int | None = 0 if end else None
    while place is not None:
        kind = sound_kind(read_at(file, place, MPEG_BYTES))
        if parts and kind not in _READ_KINDS:
            parts[-1] = replace(parts[-1], problem=f"{kind} audio follows it, which is not read here; convert it first")
            break
        found = _parts_from(file, place, end)
        parts += found
        place = next_recording(file, max(found[-1].end, place + 1), end)
    return parts


def _parts_from(file: BinaryIO, start: int, end: int) -> list[Part]:
    start, tag = skip_tags(file, start), start
    kind = sound_kind(read_at(file, start, MPEG_BYTES))
    if kind in _CONTAINERS:
        part = read_container(file, start, end) or Part(start, end)
        return find_mpeg(file, part.start, part.end) if part.is_mpeg else [part]
    if kind == "flac":
        return [read_flac(file, start, end)]
    if kind == "ogg":
        return find_ogg(file, start, end)
    if kind == "mp3" or start > tag:
        return find_mpeg(file, start, end)
    return [Part(start, first_marked(file, start + 1, end) or end)]


def describe(part: Part, frames: int) -> list[str]:
    """The notes about a part of which ``frames`` samples could be read."""
    notes = []
    promised = part.samples or _promised_samples(part, frames)
    if frames < promised:
        notes.append(f"holds {frames} of the {promised} samples that its header promises; get the whole file")
    elif part.problem:
        notes.append(part.problem)
    elif not part.says_length and part.samples is None:
        notes.append(f"does not say how long it is; {frames} samples were read up to its end")
    return notes


def _promised_samples(part: Part, frames: int) -> int:
    """Estimated samples of the missing bytes, from those that are there; 0 where none are missing."""
    if frames == 0 or part.promised <= part.held:
        return 0
    bytes_of_one = part.held // frames  # exact where all have as many; what is over is a cut sample
    return part.promised // bytes_of_one if bytes_of_one else frames * part.promised // part.held


def not_sound(start: bytes, name: str, words: str) -> CodecError:
    """What to say of a file that libsndfile cannot open, and what to do."""
    kind = sound_kind(start)
    if kind is not None and kind not in TOKEN_KINDS:
        source, into = "IN", "OUT.wav"
        if os.path.exists(name):
            target = Path(name).with_suffix(".converted.wav" if kind == "wav" else ".wav")
            source, into = shlex.quote(name), shlex.quote(str(target))
        what = f"but {kind}" if kind in FOREIGN_KINDS else f"but {kind} of a kind that is not known ({words})"
        return CodecError(
            f"{name}: not an audio file that can be read here, {what}; convert it first: "
            f"ffmpeg -i {source} {into}"
        )
    if Path(name).suffix.lower() == ".raw":
        return CodecError(f"{name}: raw samples have no header; convert the file to wav first")
    return CodecError(
        f"{name}: not an audio file that can be read ({words}); expected wav, flac, ogg, opus or mp3"
    )
