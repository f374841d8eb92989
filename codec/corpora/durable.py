"""Files that are on the disk when they have their name, and of which one process at a time writes."""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from codec.atomic import flush, named_errors, reason
from codec.corpora.remote import Folder, RemotePath, remote_file
from codec.errors import CodecError


@contextmanager
def durable_file(target: Folder) -> Iterator[BinaryIO]:
    """An open file that becomes ``target`` when the block ends well: written through to the disk, then renamed.

    Its name until then is fixed, so that a process that was killed leaves no more than one unfinished file, which the
    next attempt takes over. It is locked meanwhile: of two processes that write the same file one waits, as when a
    worker outlives the run that was killed. At a URL it is written in one piece, which takes the place of these.

    Raises:
        CodecError: when it cannot be written.
    """
    if isinstance(target, RemotePath):
        with remote_file(target) as memory:
            yield memory
        return
    temporary = target.with_name(f".{target.name}.part")
    with named_errors(target, temporary), _locked(temporary) as file:
        try:
            file.truncate(0)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if sys.platform != "win32":  # where folders cannot be opened
        flush(target.parent)


def _locked(temporary: Path) -> BinaryIO:
    """The temporary file, opened and locked."""
    while True:
        file = temporary.open("ab")
        lock(file)
        # Another process may have given it its final name before the lock was ours.
        if temporary.exists() and os.path.samestat(os.fstat(file.fileno()), temporary.stat()):
            return file
        file.close()


def lock(file: BinaryIO) -> None:
    """Lock an open file until it is closed or its process ends; another process that asks for it waits.

    A file system without locks goes without.
    """
    if sys.platform != "win32":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def make_folder(folder: Folder) -> None:
    """Make a folder and those above it; a URL needs none.

    Raises:
        CodecError: when it cannot be made.
    """
    if isinstance(folder, RemotePath):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({reason(error)}); choose another folder") from None
