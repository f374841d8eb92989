"""Files that appear whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from codec.errors import CodecError


@contextmanager
def atomic_path(target: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary path beside ``target`` that becomes ``target`` when the block ends well.

    The temporary file is made at once, so that an unwritable folder is found before the work; it
    keeps the suffix, by which libsndfile knows the format. On any exception, Ctrl-C included, it
    is removed and ``target`` is as before.

    Raises:
        CodecError: when ``target`` exists and ``overwrite`` is false, or cannot be written.
    """
    target = Path(target)
    check_target(target, overwrite)
    temporary = target.with_name(f".{target.stem}.{os.getpid()}.part{target.suffix}")
    try:
        temporary.open("wb").close()
    except OSError as error:
        raise CodecError(f"{target}: cannot be written ({reason(error)}); choose another folder") from None
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def check_target(target: Path, overwrite: bool) -> None:
    """Raise a :class:`CodecError` unless ``target`` may be written, as far as can be seen now."""
    if target.is_dir():
        raise CodecError(f"{target}: is a folder; give the name of a file")
    if target.exists() and not overwrite:
        raise CodecError(f"{target}: exists already; pass --overwrite to replace it")
    if not target.parent.is_dir():
        raise CodecError(f"{target}: there is no folder {target.parent}; make it first")


def reason(error: OSError) -> str:
    """The system's words for an error, without the path that the caller has named already."""
    return (error.strerror or str(error)).lower()
