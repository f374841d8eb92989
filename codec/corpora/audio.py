"""The audio of an utterance, or at which stage it failed, and why."""

import functools
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from codec.audio.io import Audio, load_audio
from codec.audio.resample import resample
from codec.corpora.places import fetch, is_url, read_place, size_of
from codec.corpora.sources.dataset import read_row
from codec.corpora.sources.members import Member
from codec.corpora.utterances import Utterance
from codec.errors import CodecError


class BadUtterance(Exception):
    """An utterance that cannot be encoded; it becomes a row of its own.

    Attributes:
        stage: ``open``, ``decode`` or ``encode``.
        message: one line.
    """

    def __init__(self, stage: str, error: Exception, name: str = ""):
        text = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, CodecError):
            text = f"{type(error).__name__}: {text}"
        self.stage = stage
        self.message = text.removeprefix(f"{name}: ")
        super().__init__(f"{stage}: {self.message}")


class SourceChangedError(CodecError):
    """The source is not what was planned: no matter of one utterance, the run ends."""


def check_sources(utterances: list[Utterance]) -> None:
    """Raise a :class:`CodecError` when local files or tables that the plan has are gone or have changed.

    A file that was missing when the plan was made is a bad utterance instead. Recordings at URLs are checked when they
    are read.
    """
    checked = [one for one in utterances if one.row is not None or not is_url(one.path)]
    files = {(one.path, one.size) for one in checked if one.offset is None and one.size is not None}
    gone = [path for path, size in files if size_of(path) != size]
    gone += [path for path, held in _tars(checked).items() if not _holds(path, held)]
    if gone:
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise _changed(f"{min(gone)}{more}")


def _changed(what: str) -> "SourceChangedError":
    return SourceChangedError(
        f"{what}: gone or changed since the plan was made; restore it, or start with another folder"
    )


def _tars(utterances: list[Utterance]) -> dict[str, list[Member]]:
    """The recordings in each tar."""
    tars: dict[str, list[Member]] = {}
    for utterance in utterances:
        if (member := _member(utterance)) is not None:
            tars.setdefault(utterance.path, []).append(member)
    return tars


def _member(utterance: Utterance) -> Member | None:
    if utterance.offset is None or utterance.size is None:
        return None
    return Member(utterance.member or "", utterance.offset, utterance.size)


def _holds(tar: str, members: list[Member]) -> bool:
    """Whether a tar still has its recordings where they were: one that was packed anew may be as long, or longer."""
    if (size_of(tar) or 0) < max(one.offset + one.size for one in members):
        return False
    return all(one.is_there(lambda start, size: read_place(tar, start, size)) for one in members)


def read_wav(utterance: Utterance, sample_rate: int) -> Tensor:
    """``(T,)`` float32 at ``sample_rate``.

    Raises:
        BadUtterance: when the recording cannot be read, is damaged, or holds nothing.
        SourceChangedError: when a recording at a URL is gone or has changed.
    """
    try:
        source = _open(utterance)
    except SourceChangedError:
        raise
    except Exception as error:
        raise BadUtterance("open", error, utterance.path) from error
    try:
        if utterance.start is None or utterance.duration is None:
            return load_audio(source, sample_rate).wav
        audio = _recording(source) if isinstance(source, Path) else load_audio(source)
        return resample(_part(audio, utterance.start, utterance.duration), audio.sample_rate, sample_rate)
    except Exception as error:
        raise BadUtterance("decode", error, str(source) if isinstance(source, Path) else "the bytes") from error


def _open(utterance: Utterance) -> Path | bytes:
    place: Any = utterance.path
    if utterance.row is not None:
        place = read_row(utterance.path, utterance.column or "audio", utterance.row)
        if isinstance(place, bytes):
            return place
    if is_url(place):
        return _download(place, utterance)
    if utterance.offset is not None:
        return fetch(place, utterance.offset, utterance.size)
    with open(place, "rb"):
        return Path(os.path.abspath(place))


def _download(place: str, utterance: Utterance) -> bytes:
    """A recording at a URL; a network that fails to the last ends the run rather than the utterance."""
    # Of a row it is the table's size, and of the recording nothing is known.
    size = None if utterance.row is not None else utterance.size
    member = _member(utterance)
    try:
        data = fetch(place) if member is None else member.read(lambda start, size: fetch(place, start, size))
    except PermissionError:
        raise
    except FileNotFoundError as error:
        if size is None:
            raise CodecError(f"{place}: no such file") from error
        raise _changed(place) from error
    except OSError as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise SourceChangedError(f"{place}: cannot be read ({text}); run the same command again") from error
    if data is None or (size is not None and len(data) != size):
        raise _changed(place)
    return data


@functools.lru_cache(maxsize=2)
def _recording(path: Path) -> Audio:
    """A whole recording, kept because its other parts follow."""
    return load_audio(path)


def _part(audio: Audio, start: float, duration: float) -> Tensor:
    """The samples of a part, as Lhotse counts them: both numbers rounded half up."""
    first = int(start * audio.sample_rate + 0.5)
    count = int(duration * audio.sample_rate + 0.5)
    part = audio.wav[first : first + count]
    if len(part) < count - 1:
        raise CodecError(
            f"ends at {len(audio.wav) / audio.sample_rate:.3f} s, but the part reaches to {start + duration:.3f} s"
        )
    return part
