"""Opening what a user named, whatever it is: a file, a pipe, a device or an open stream."""

import io
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

from codec.atomic import reason
from codec.errors import CodecError

Source = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | TextIO
"""A path, also of a pipe, a file's bytes, or an open file."""

STANDARD_INPUT = "standard input"

_SPOOL_BYTES = 1 << 26
"""Input that cannot seek is kept in memory up to this size, then on disk."""


@contextmanager
def open_seekable(source: Source, expected: str) -> Iterator[tuple[BinaryIO, str]]:
    """A binary file that can seek, at its beginning, and its name for messages.

    Args:
        source: a path, which may be a named pipe or ``/dev/fd/63``, a file's bytes, or an open file.
        expected: what should be in it, such as "an audio file", for messages.

    Raises:
        CodecError: when it cannot be read, is a folder, or is empty. Errors of reading in the block
            become one too.
    """
    name, opened = _named(source, expected)
    try:
        with _opened(opened, name, expected) as stream, _seekable(stream) as file:
            _check_content(file, name, expected)
            yield file, name
    except OSError as error:
        raise CodecError(f"{name}: cannot be read ({reason(error)})") from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise CodecError(f"{name!r}: no file can have this name; expected {expected}") from None


def is_source(value: Any) -> bool:
    """Whether ``value`` is a :data:`Source`, and no numbers."""
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(value, "read")


def path_of(path: Any, expected: str) -> str:
    """A path as the user gave it, but for a ``~`` in front, which is the home folder.

    Args:
        expected: what it should name, such as "an audio file", for messages.

    Raises:
        CodecError: for an empty name, which would mean the current folder, and for what is no path.
    """
    if not isinstance(path, str | os.PathLike):
        raise CodecError(f"expected the name of {expected}, got {type(path).__name__}")
    name = os.fsdecode(path)
    if not name:
        raise CodecError(f"an empty name (''); give the name of {expected}")
    return os.path.expanduser(name)


def _named(source: Any, expected: str) -> tuple[str, BinaryIO | None]:
    """Name for messages, and the open file where it is not to be opened by that name."""
    if isinstance(source, bytes | bytearray | memoryview):
        return "the bytes", io.BytesIO(source)
    if not is_source(source):
        raise CodecError(f"expected {expected} as a path, bytes or an open file, got {type(source).__name__}")
    if not hasattr(source, "read"):
        return path_of(source, expected), None
    file = getattr(source, "buffer", None) if isinstance(source, io.TextIOBase) else source
    name = getattr(file, "name", None)
    if sys.stdin is not None and file is getattr(sys.stdin, "buffer", None):
        name = STANDARD_INPUT
    name = name if isinstance(name, str) else "the open file"
    if file is None or getattr(file, "closed", False):
        raise CodecError(f"{name}: is {'text' if file is None else 'closed'}; open {expected} with open(path, 'rb')")
    return name, file


def is_regular(path: Path) -> bool:
    """Whether ``path`` is there and an regular file: no folder, pipe or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _opened(file: BinaryIO | None, name: str, expected: str) -> AbstractContextManager[BinaryIO]:
    """The file of that name, to be closed; a file that is open stays open."""
    if file is not None:
        return nullcontext(file)
    if os.path.isdir(name):
        raise CodecError(f"{name}: is a folder; expected {expected}")
    return open(name, "rb")


@contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file itself, or a copy of all that comes out of it."""
    if hasattr(file, "seekable") and file.seekable():
        yield file
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        shutil.copyfileobj(file, spool)
        spool.seek(0)
        # From Python 3.11 on it has all that a binary file has.
        yield cast(BinaryIO, spool)


def _check_content(file: BinaryIO, name: str, expected: str) -> None:
    file.seek(0)
    if not file.read(1):
        what = "empty file" if os.path.exists(name) else "empty"
        raise CodecError(f"{name}: {what} (0 bytes); expected {expected}")
    file.seek(0)
