"""Recordings that are files of their own: a folder of them, or a manifest."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from codec.audio.io import AUDIO_SUFFIXES
from codec.corpora.places import folder_of, is_url, join, list_folder, read_place, size_of
from codec.corpora.utterances import Utterance
from codec.data.corpus.texts import TEXT_SUFFIXES, sidecar_text
from codec.data.manifest import Clip, clips_of, read_manifest
from codec.data.search import search_folder
from codec.errors import CodecError


def folder_utterances(folder: str) -> Iterator[Utterance]:
    """Every recording below a folder; its id is its path without the suffix, its speaker the folder it is in.

    Of a local folder texts are read too, from files next to the recordings, as ``codec prepare`` does.

    Raises:
        CodecError: when the folder, or one in it, cannot be read.
    """
    return _remote(folder) if is_url(folder) else _local(Path(folder))


def _local(folder: Path) -> Iterator[Utterance]:
    search = search_folder(folder, AUDIO_SUFFIXES, TEXT_SUFFIXES, any_name=True)
    if search.unreadable:
        raise CodecError(search.unreadable[0])
    search.print_summary()
    for path in search.found:
        inside = path.relative_to(folder).as_posix()
        yield _utterance(inside, str(path), path.stat().st_size, sidecar_text(path))


def _remote(folder: str) -> Iterator[Utterance]:
    for inside, size in list_folder(folder, AUDIO_SUFFIXES):
        yield _utterance(inside, join(folder, inside), size, None)


def _utterance(inside: str, path: str, size: int, text: str | None) -> Utterance:
    below = PurePosixPath(inside)
    speaker = below.parent.name or None
    return Utterance(below.with_suffix("").as_posix(), path, size, text=text, speaker=speaker)


def manifest_utterances(manifest: str, root: str | None = None) -> Iterator[Utterance]:
    """The clips of a manifest as ``codec prepare`` writes it; paths are relative to ``root`` or its folder, or URLs.

    Raises:
        CodecError: when it cannot be read, a line is no clip, ``root`` is no folder, or none of the files is there.
    """
    if is_url(manifest):
        clips = clips_of(read_place(manifest), manifest, root or folder_of(manifest))
    elif root is not None and is_url(root):
        clips = [replace(clip, root=root) for clip in read_manifest(manifest)]
    else:
        clips = read_manifest(manifest, root)
    return _found(map(_clip_utterance, clips), manifest)


def _found(utterances: Iterator[Utterance], manifest: str) -> Iterator[Utterance]:
    """The utterances, if a file of any is there: single ones may be missing, all of them mean another root."""
    missing: list[Utterance] = []
    for utterance in utterances:
        if utterance.size is not None:
            yield from missing
            yield utterance
            yield from utterances
            return
        missing.append(utterance)
    if missing:
        raise CodecError(
            f"{manifest}: none of its {len(missing)} files is there, such as {missing[0].path}; "
            "name the folder that its paths are relative to (--root)"
        )


def _clip_utterance(clip: Clip) -> Utterance:
    path = join(clip.root, clip.path)
    # ``..`` stays, since after a link it leads elsewhere than its text says.
    path = path if is_url(path) else os.fspath(Path(path))
    return Utterance(
        clip.name, path, size_of(path), seconds=clip.seconds, text=clip.text, speaker=clip.speaker
    )
