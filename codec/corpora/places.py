"""Files at local paths and at URLs that fsspec knows, such as ``s3://bucket/a.wav``."""

import glob
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from codec.atomic import reason
from codec.errors import CodecError

_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+(::|://)")
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


def is_url(place: str) -> bool:
    """Whether fsspec is to find it."""
    return _URL.match(place) is not None


def absolute(place: str) -> str:
    """A local path from the root on, so that every process finds it; a URL as it is."""
    return place if is_url(place) else os.path.abspath(os.path.expanduser(place))


def join(folder: str, name: str) -> str:
    """``name`` below ``folder``; alone where it stands for itself."""
    if is_url(name) or os.path.isabs(name):
        return name
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def folder_of(place: str) -> str:
    """The folder that a file is in."""
    return place.rpartition("/")[0] if is_url(place) else os.path.dirname(place)


def open_place(place: str) -> BinaryIO:
    """An open binary file that can seek.

    Raises:
        CodecError: when it is not there or cannot be read.
    """
    try:
        return _opened(place)
    except OSError as error:
        raise CodecError(f"{place}: cannot be read ({reason(error)})") from None


def _opened(place: str) -> BinaryIO:
    if not is_url(place):
        return open(place, "rb")
    filesystem, path = _filesystem(place)
    return cast(BinaryIO, filesystem.open(path, "rb"))


def read_place(place: str, offset: int = 0, size: int | None = None) -> bytes:
    """Bytes of a file, or of a part of it.

    Raises:
        CodecError: as :func:`open_place`.
    """
    try:
        return fetch(place, offset, size)
    except OSError as error:
        raise CodecError(f"{place}: cannot be read ({reason(error)})") from None


def fetch(place: str, offset: int = 0, size: int | None = None) -> bytes:
    """The same, with the system's own exceptions."""
    with _opened(place) as file:
        if offset:
            file.seek(offset)
        return file.read() if size is None else file.read(size)


def size_of(place: str) -> int | None:
    """Bytes of a file; ``None`` where there is none."""
    try:
        if not is_url(place):
            return os.stat(place).st_size
        filesystem, path = _filesystem(place)
        return int(filesystem.size(path))
    except OSError:
        return None


def is_folder(place: str) -> bool:
    """Whether it is a folder that is there."""
    if not is_url(place):
        return os.path.isdir(place)
    filesystem, path = _filesystem(place)
    return bool(filesystem.isdir(path))


def list_folder(place: str, suffixes: Sequence[str]) -> list[tuple[str, int]]:
    """Paths below a folder of a URL's file system, relative to it, with their sizes, in order."""
    filesystem, root = _filesystem(place)
    try:
        found = filesystem.find(root, detail=True)
    except OSError as error:
        raise CodecError(f"{place}: cannot be read ({reason(error)})") from None
    names = {path[len(root.rstrip("/")) + 1 :]: int(about["size"]) for path, about in found.items()}
    return sorted((name, size) for name, size in names.items() if Path(name).suffix.lower() in suffixes)


def expand(pattern: str) -> list[str]:
    """The files of ``train-{000..012}.tar``, a glob, or a plain name; in order, whether they are there or not."""
    ranges = [
        [str(i).zfill(len(first)) for i in range(int(first), int(last) + 1)]
        for first, last in _BRACES.findall(pattern)
    ]
    names = []
    for numbers in itertools.product(*ranges):
        values = iter(numbers)
        names.append(_BRACES.sub(lambda _, values=values: next(values), pattern))  # type: ignore[misc]
    return [match for name in names for match in _glob(name)]


def _glob(pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    if not is_url(pattern):
        return sorted(glob.glob(pattern))
    filesystem, path = _filesystem(pattern)
    return sorted(str(filesystem.unstrip_protocol(name)) for name in filesystem.glob(path))


def _filesystem(place: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise CodecError(f"{place}: URLs need the package fsspec; pip install 'codec[corpora]'") from None
    try:
        filesystem, path = url_to_fs(place)
    except ImportError as error:
        raise CodecError(f"{place}: {' '.join(str(error).split())}") from None
    except ValueError as error:
        raise CodecError(f"{place}: no URL that fsspec knows ({error})") from None
    return filesystem, str(path)
