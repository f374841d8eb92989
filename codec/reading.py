"""Opening what a user named, whatever it is: a file, a pipe, a device or an open stream."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, cast

from codec.atomic import reason
from codec.errors import CodecError

STANDARD_INPUT = "standard input"

_SPOOL_BYTES = 1 << 26
"""Input that cannot seek is kept in memory up to this size, then on disk."""


@contextmanager
def open_seekable(source: str | Path | BinaryIO, expected: str) -> Iterator[tuple[BinaryIO, str]]:
    """A binary file that can seek, at its beginning, and its name for messages.

    Args:
        source: a path, which may be a named pipe or ``/dev/fd/63``, or an open binary file.
        expected: what should be in it, such as "an audio file", for messages.

    Raises:
        CodecError: when it cannot be read, is a folder, or is empty. Errors of reading in the block
            become one too.
    """
    name = os.fsdecode(source) if isinstance(source, str | bytes | os.PathLike) else STANDARD_INPUT
    check_name(name, expected)
    try:
        with _opened(source, name, expected) as opened, _seekable(opened) as file:
            _check_content(file, name, expected)
            yield file, name
    except OSError as error:
        raise CodecError(f"{name}: cannot be read ({reason(error)})") from None
    except ValueError as error:
        if "null" not in str(error):
            raise
        raise CodecError(f"{name!r}: no file can have this name; expected {expected}") from None


def check_name(name: str | Path, expected: str) -> None:
    """Raise a :class:`CodecError` for an empty name, which would mean the current folder."""
    if not str(name):
        raise CodecError(f"an empty name (''); give the name of {expected}")


def is_regular(path: Path) -> bool:
    """Whether ``path`` is there and an regular file: no folder, pipe or device."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _opened(source: str | Path | BinaryIO, name: str, expected: str) -> AbstractContextManager[BinaryIO]:
    """A file, to be closed; a stream that is open stays open."""
    if not isinstance(source, str | bytes | os.PathLike):
        return nullcontext(source)
    if os.path.isdir(source):
        raise CodecError(f"{name}: is a folder; expected {expected}")
    return open(source, "rb")


@contextmanager
def _seekable(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file itself, or a copy of all that comes out of it."""
    if file.seekable():
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
        what = "empty" if name == STANDARD_INPUT else "empty file"
        raise CodecError(f"{name}: {what} (0 bytes); expected {expected}")
    file.seek(0)
