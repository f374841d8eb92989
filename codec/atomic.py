"""Files and folders that appear whole or not at all."""

import errno
import glob
import os
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from codec.errors import CodecError

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"
_STALE_SECONDS = 3600.0
"""A temporary folder that nobody has written to for so long was left by a process that was killed."""


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
def atomic_folder(target: str | Path) -> Iterator[Path]:
    """a temporary folder next to ``target`` that takes its place when the block ends well.

    It is flushed to the disk first, its files (no sub-folders) included. Its name is like no other, as for
    :func:`atomic_path`. On any exception it is removed and ``target`` is as before.

    Raises:
        OSError: when it cannot be written.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target.parent)
    temporary = target.with_name(_temporary_name(""))
    try:
        temporary.mkdir()
        yield temporary
        for path in (*temporary.iterdir(), temporary):
            flush(path)
        _take_place(temporary, target)
        flush(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def workplace(target: str | Path, whole: str) -> Iterator[Path]:
    """As :func:`atomic_folder`, for long work that resumes: after an error the temporary folder stays.

    The next process that makes the same target gets the folder that an ended one left, never one in which
    another still works: that is locked. Where locks are missing, every process begins with an empty folder.
    Of several that end well, the first one's folder stays, since others may read it already.

    Args:
        target: the folder.
        whole: name of a file that every finished folder has; a target without it is replaced.

    Raises:
        OSError: when it cannot be written.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    work = target.with_name(f".{target.name}.{uuid.uuid4().hex[:16]}")
    with ExitStack() as locks:
        if not any(_take_over(left, work, locks) for left in target.parent.glob(f".{glob.escape(target.name)}.*")):
            # Nobody looks for this name, so that it is locked before it has the other.
            new = target.with_name(_temporary_name(""))
            new.mkdir()
            _lock(new, locks)
            new.rename(work)
        yield work
        for path in (*work.iterdir(), work):
            flush(path)
        _take_place(work, target, whole)
        (target / _LOCK).unlink(missing_ok=True)
        flush(target.parent)


def _take_over(left: Path, work: Path, locks: ExitStack) -> bool:
    """Make what an ended process left our own, unless somebody else is quicker."""
    try:
        if _lock(left, locks):
            left.rename(work)
            return True
    except OSError:
        pass
    return False


def _lock(folder: Path, locks: ExitStack) -> bool:
    """Lock a folder until ``locks`` are left or the process ends; false when another process has it."""
    file = locks.enter_context((folder / _LOCK).open("ab"))
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _take_place(temporary: Path, target: Path, whole: str | None = None) -> None:
    """Rename a folder, moving one that is there out of the way; another process may do so at the same time.

    One that is there and has a file ``whole`` stays, and the temporary folder is removed.
    """
    while True:
        try:
            os.replace(temporary, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return
        if whole is not None and (target / whole).is_file():
            shutil.rmtree(temporary)
            return
        old = target.with_name(_temporary_name(""))
        with suppress(FileNotFoundError):
            os.replace(target, old)
        shutil.rmtree(old, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    for path in folder.glob(".*.part"):
        with suppress(OSError):
            if path.is_dir() and time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path)


def flush(path: Path) -> None:
    """Write a file, or a folder's names, through to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
