"""Files at local paths and at URLs that fsspec knows, such as ``s3://bucket/a.wav``."""

import glob
import io
import itertools
import os
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from codec.atomic import reason
from codec.errors import CodecError

T = TypeVar("T")

RETRIES = (0.5, 2.0, 8.0)
"""Seconds between attempts to reach a URL."""
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
    filesystem, path = filesystem_of(place)
    return cast(BinaryIO, io.BufferedReader(_PatientFile(patiently(lambda: filesystem.open(path, "rb")))))


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
    """The same, with the system's own exceptions; a URL is tried several times."""
    if is_url(place):
        filesystem, path = filesystem_of(place)
        end = None if size is None else offset + size
        return bytes(patiently(lambda: filesystem.cat_file(path, start=offset or None, end=end)))
    with open(place, "rb") as file:
        if offset:
            file.seek(offset)
        return file.read() if size is None else file.read(size)


def patiently(function: Callable[[], T]) -> T:
    """What a function says of a URL; where it fails, it is asked again after each of :data:`RETRIES`.

    Raises:
        OSError: at once for what is not there or may not be read, and for all else when it fails to the last.
    """
    for wait in RETRIES:
        try:
            return function()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception:  # noqa: BLE001 (each client of a network has its own)
            time.sleep(wait)
    try:
        return function()
    except OSError:
        raise
    except Exception as error:
        raise OSError(" ".join(str(error).split()) or type(error).__name__) from error


class _PatientFile(io.RawIOBase):
    """An open file of fsspec, each read of which is tried several times."""

    def __init__(self, file: Any):
        self._file, self._position = file, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._file.size)[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        data = patiently(lambda: self._read(len(buffer)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, size: int) -> bytes:
        self._file.seek(self._position)
        return bytes(self._file.read(size))

    def close(self) -> None:
        self._file.close()
        super().close()


def _asked(place: str, function: Callable[[], T]) -> T:
    try:
        return patiently(function)
    except OSError as error:
        raise CodecError(f"{place}: cannot be read ({reason(error)})") from None


def size_of(place: str) -> int | None:
    """Bytes of a file; ``None`` where there is none, or none that may be read.

    Raises:
        CodecError: when a URL gives no answer.
    """
    if is_url(place):
        filesystem, path = filesystem_of(place)
        return _asked(place, lambda: _size(filesystem, path))
    try:
        return os.stat(place).st_size
    except (OSError, ValueError):  # the latter for a name that no file can have
        return None


def _size(filesystem: Any, path: str) -> int | None:
    try:
        return int(filesystem.size(path))
    except (FileNotFoundError, PermissionError):
        return None


def is_folder(place: str) -> bool:
    """Whether it is a folder that is there.

    Raises:
        CodecError: when a URL gives no answer.
    """
    if not is_url(place):
        return os.path.isdir(place)
    filesystem, path = filesystem_of(place)
    return _asked(place, lambda: bool(filesystem.isdir(path)))


def list_folder(place: str, suffixes: Sequence[str]) -> list[tuple[str, int]]:
    """Paths below a folder of a URL's file system, relative to it, with their sizes, in order."""
    filesystem, root = filesystem_of(place)
    found = _asked(place, lambda: filesystem.find(root, detail=True))
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
    filesystem, path = filesystem_of(pattern)
    return sorted(str(filesystem.unstrip_protocol(name)) for name in _asked(pattern, lambda: filesystem.glob(path)))


def filesystem_of(place: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there.

    Raises:
        CodecError: without the package that knows it.
    """
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
