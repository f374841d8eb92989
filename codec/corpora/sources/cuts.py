"""Lhotse's cuts and Shar folders, read from their JSON: the package lhotse is not needed."""

import gzip
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from codec.corpora.places import absolute, is_url, join, list_folder, read_place, size_of
from codec.corpora.sources.tars import parse_json, read_samples
from codec.corpora.utterances import Utterance
from codec.errors import CodecError


def cuts_utterances(path: str) -> Iterator[Utterance]:
    """The cuts of ``cuts.jsonl`` or ``cuts.jsonl.gz``; relative paths are those of the working folder, as in Lhotse.

    Raises:
        CodecError: for a cut that is mixed, changed (``transforms``), of several channels, not in a file, or damaged.
    """
    for number, cut in _read_lines(path):
        where = f"{path}:{number}"
        with _damage_named(where):
            utterance = _file_utterance(cut, where)
        yield utterance


def shar_utterances(folder: str) -> Iterator[Utterance]:
    """The cuts of a Shar folder, ``cuts.000000.jsonl.gz`` and ``recording.000000.tar``.

    Raises:
        CodecError: when a cut has no recording in the tar, or as :func:`cuts_utterances`.
    """
    for name in _names(folder):
        match = re.fullmatch(r"cuts\.(.+)\.jsonl(\.gz)?", name)
        if match is None:
            continue
        tar = join(folder, f"recording.{match[1]}.tar")
        if size_of(tar) is None:
            raise CodecError(f"{tar}: no such file, which {name} needs; make the Shar with recordings")
        samples = {sample.key: sample.audio for sample in read_samples(tar)}
        for number, cut in _read_lines(join(folder, name)):
            where = f"{join(folder, name)}:{number}"
            sound = samples.get(str(cut.get("id")))
            if sound is None:
                raise CodecError(f"{where}: {tar} holds no recording of cut {cut.get('id')!r}")
            member, offset, size = sound
            with _damage_named(where):
                _check_simple(cut, where)
                # The tar holds just the cut's part of its recording.
                utterance = _utterance(cut, tar, size, offset=offset, member=member)
            yield utterance


def _names(folder: str) -> list[str]:
    if is_url(folder):
        return [name for name, _ in list_folder(folder, (".jsonl", ".gz"))]
    return sorted(os.listdir(folder))


def _read_lines(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    data = read_place(path)
    try:
        text = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    except (OSError, EOFError) as error:
        raise CodecError(f"{path}: damaged ({error}); get the file again") from None
    for number, line in enumerate(text.split(b"\n"), start=1):
        if line.strip():
            yield number, parse_json(line, f"{path}:{number}")


@contextmanager
def _damage_named(where: str) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise CodecError(f"{where}: not a cut of Lhotse ({error} is missing); write the cuts again") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise CodecError(f"{where}: not a cut of Lhotse ({error}); write the cuts again") from None


def _file_utterance(cut: dict[str, Any], where: str) -> Utterance:
    _check_simple(cut, where)
    recording = cut.get("recording") or {}
    sources = recording.get("sources") or []
    if len(sources) != 1 or sources[0].get("type") not in ("file", "url"):
        kinds = ", ".join(str(source.get("type")) for source in sources) or "no source"
        raise CodecError(f"{where}: the recording is {kinds}; cuts of one file or URL each can be read")
    path = absolute(sources[0]["source"])
    whole = cut["start"] == 0 and abs(cut["duration"] - recording["duration"]) < 1e-6
    part = {} if whole else {"start": float(cut["start"]), "duration": float(cut["duration"])}
    return _utterance(cut, path, size_of(path), **part)


def _utterance(cut: dict[str, Any], path: str, size: int | None, **where: Any) -> Utterance:
    spoken = cut.get("supervisions") or []
    texts = [str(part["text"]) for part in spoken if part.get("text")]
    speakers = {str(part["speaker"]) for part in spoken if part.get("speaker")}
    return Utterance(
        str(cut["id"]),
        path,
        size,
        **where,
        seconds=float(cut["duration"]),
        text=" ".join(texts) or None,
        speaker=speakers.pop() if len(speakers) == 1 else None,
    )


def _check_simple(cut: dict[str, Any], where: str) -> None:
    kind, recording = cut.get("type"), cut.get("recording") or {}
    if kind != "MonoCut" or not {"id", "start", "duration"} <= cut.keys():
        raise CodecError(f"{where}: {kind or 'no cut'}; only MonoCut can be read, save others with save_audios first")
    if recording.get("transforms"):
        raise CodecError(f"{where}: the recording has transforms; save the cuts with save_audios first")
    if len(recording.get("channel_ids") or [0]) > 1:
        raise CodecError(f"{where}: one channel of several; save the cuts with save_audios first")
