"""Recordings in tars: WebDataset, and the tars of Lhotse's Shar."""

import json
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from codec.audio.io import AUDIO_SUFFIXES
from codec.corpora.places import expand, is_folder, is_url, join, list_folder, open_place
from codec.corpora.utterances import Utterance
from codec.errors import CodecError

_SIDE_BYTES = 1 << 20
"""Larger members are not read as the text or the facts of a recording."""


@dataclass
class Sample:
    """Files of a tar with one name up to the first dot, as WebDataset groups them.

    Attributes:
        key: that name, with its folder.
        audio: member, offset and bytes of the recording.
        sides: contents of ``.txt`` and ``.json``, by suffix.
    """

    key: str
    audio: tuple[str, int, int] | None = None
    sides: dict[str, bytes] = field(default_factory=dict)


def tar_utterances(source: str, text_field: str, speaker_field: str) -> Iterator[Utterance]:
    """Samples of a tar, of those in a folder, of a glob, or of ``a-{000..012}.tar``.

    The text is the sample's ``.txt``, or a field of its ``.json``, as the speaker is.

    Raises:
        CodecError: for a tar that is not there, damaged or compressed.
    """
    for tar in list_tars(source):
        for sample in read_samples(tar):
            if sample.audio is not None:
                yield _utterance(tar, sample, text_field, speaker_field)


def list_tars(source: str) -> list[str]:
    """The tars that a source names."""
    if not is_folder(source):
        return expand(source)
    if is_url(source):
        return [join(source, name) for name, _ in list_folder(source, (".tar",))]
    return [join(source, name) for name in sorted(os.listdir(source)) if name.endswith(".tar")]


def read_samples(tar: str) -> Iterator[Sample]:
    """Samples in order; their recordings are not read, only where they lie.

    Raises:
        CodecError: for a tar that is not there, damaged or compressed.
    """
    sample: Sample | None = None
    with open_place(tar) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as members:
                for member in members:
                    if not member.isfile():
                        continue
                    key, suffix = _split(member.name)
                    if sample is None or key != sample.key:
                        if sample is not None:
                            yield sample
                        sample = Sample(key)
                    _add(sample, members, member, suffix)
        except (tarfile.TarError, OSError, EOFError) as error:
            hint = "; unpack a compressed one" if tar.endswith("gz") else ""
            raise CodecError(f"{tar}: cannot be read as a tar ({' '.join(str(error).split())}){hint}") from None
    if sample is not None:
        yield sample


def _split(name: str) -> tuple[str, str]:
    """A sample's key and the rest of a member's name: ``a/b.c.d`` is ``a/b`` and ``.c.d``."""
    path = PurePosixPath(name)
    stem, dot, rest = path.name.partition(".")
    return (path.parent / stem).as_posix(), f"{dot}{rest}".lower()


def _add(sample: Sample, members: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> None:
    last = PurePosixPath(f"x{suffix}").suffix
    if last in AUDIO_SUFFIXES:
        if sample.audio is not None:
            raise CodecError(f"{member.name}: a second recording of sample {sample.key}; a sample has one")
        sample.audio = member.name, member.offset_data, member.size
    elif last in (".txt", ".json") and member.size <= _SIDE_BYTES:
        content = members.extractfile(member)
        sample.sides[last] = content.read() if content is not None else b""


def _utterance(tar: str, sample: Sample, text_field: str, speaker_field: str) -> Utterance:
    assert sample.audio is not None
    member, offset, size = sample.audio
    about = parse_json(sample.sides.get(".json", b"{}"), f"{tar}!{sample.key}.json")
    text = sample.sides[".txt"].decode(errors="replace").strip() if ".txt" in sample.sides else about.get(text_field)
    speaker = about.get(speaker_field, about.get("speaker"))
    return Utterance(
        sample.key,
        tar,
        size,
        offset=offset,
        member=member,
        text=None if text is None else str(text),
        speaker=None if speaker is None else str(speaker),
    )


def parse_json(data: bytes | str, name: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        CodecError: for what is none.
    """
    try:
        values = json.loads(data)
    except ValueError as error:
        raise CodecError(f"{name}: not JSON ({error})") from None
    return values if isinstance(values, dict) else {}
