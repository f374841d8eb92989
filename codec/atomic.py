"""Files that appear whole or not at all."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from codec.errors import CodecError


@contextmanager
def atomic_path(target: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path next to ``target`` that becomes ``target`` when the block ends well.

    The temporary file is made at once, so that an unwritable folder is found before the work; it
    keeps the suffix, by which libraries know the format. Its name is like no other, whatever
    threads, processes and machines write into the folder. On any exception, Ctrl-C included, it is
    removed and ``target`` is as before.

    Raises:
        CodecError: when ``target`` exists and ``overwrite`` is false, or cannot be written, a full
            disk in the block included.
    """
    target = Path(target)
    check_target(target, overwrite)
    temporary = target.with_name(_temporary_name(target.suffix))
    try:
        temporary.open("xb").close()
    except OSError as error:
        raise CodecError(f"{target}: cannot be written ({reason(error)}); choose another folder") from None
    try:
        with named_errors(target, temporary):
            yield temporary
            os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_file(target: str | Path, overwrite: bool = True) -> Iterator[BinaryIO]:
    """The same as an open binary file."""
    with atomic_path(target, overwrite) as temporary, temporary.open("wb") as file:
        yield file
        # Before the file gets its name: what is still buffered may not fit on the disk.
        file.close()


@contextmanager
def named_errors(target: Path | str, temporary: Path | None = None) -> Iterator[None]:
    """Turn errors of writing into a :class:`CodecError` with the name that the user knows."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.filename not in (None, str(target), str(temporary)):
            raise
        raise CodecError(
            f"{target}: cannot be written ({reason(error)}); make room or choose another place"
        ) from error


def check_target(target: Path, overwrite: bool) -> None:
    """Raise a :class:`CodecError` unless ``target`` may be written, as far as can be seen now."""
    try:
        if target.is_dir():
            raise CodecError(f"{target}: is a folder; give the name of a file")
        if not overwrite and os.path.lexists(target):
            raise CodecError(f"{target}: exists already; pass --overwrite to replace it")
        if not target.parent.is_dir():
            raise CodecError(f"{target}: there is no folder {target.parent}; make it first")
    except OSError as error:
        raise CodecError(f"{target}: cannot be written ({reason(error)}); choose another name") from None


def reason(error: OSError) -> str:
    """The system's words for an error, without the path that the caller has named already."""
    return (error.strerror or str(error)).lower()


def _temporary_name(suffix: str) -> str:
    """Short, so that it fits wherever the target's own name does."""
    return f".{uuid.uuid4().hex[:16]}.part{suffix if len(suffix) <= 16 else ''}"
