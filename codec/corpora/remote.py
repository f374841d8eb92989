"""The folder of a corpus: a path on a disk, or a URL of fsspec's, such as ``s3://bucket/corpus``."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, TypeVar

from codec.atomic import reason
from codec.corpora.places import filesystem_of, is_url, patiently
from codec.errors import CodecError

T = TypeVar("T")

_LOST = re.compile(r"^[a-z][a-z0-9+.-]+:/[^/]")
"""What ``Path`` makes of ``s3://bucket``."""


@dataclass(frozen=True)
class RemotePath:
    """A file or folder at a URL, with those methods of :class:`pathlib.Path` that corpora need.

    What it says is what the server has now: listings that fsspec keeps are dropped before each question. Every
    question is asked several times before it ends in a :class:`CodecError`.
    """

    url: str

    def __truediv__(self, name: str) -> "RemotePath":
        return RemotePath(f"{self.url.rstrip('/')}/{name}")

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.rstrip("/").rpartition("/")[2]

    def resolve(self) -> "RemotePath":
        """Itself: a URL means the same everywhere."""
        return self

    def read_bytes(self) -> bytes:
        """All of a file.

        Raises:
            FileNotFoundError: when there is none.
        """
        return bytes(self._ask(lambda filesystem, path: filesystem.cat_file(path)))

    def write_bytes(self, data: bytes) -> None:
        """Write a file, of which others see nothing or all."""
        try:
            self._ask(lambda filesystem, path: filesystem.pipe_file(path, data), "written")
        except FileNotFoundError as error:
            raise CodecError(f"{self}: cannot be written ({reason(error)}); make the bucket first") from None

    def is_file(self) -> bool:
        """Whether there is such a file."""
        try:
            return bool(self._ask(lambda filesystem, path: filesystem.info(path)["type"] == "file"))
        except FileNotFoundError:
            return False

    def is_dir(self) -> bool:
        """Whether anything lies below."""
        return any(True for _ in self.iterdir())

    def iterdir(self) -> Iterator["RemotePath"]:
        """What lies in a folder, in order; nothing in one that is not there, since object stores have none."""
        try:
            found = self._ask(lambda filesystem, path: filesystem.ls(path, detail=False))
        except FileNotFoundError:
            return
        for name in sorted(str(one).rstrip("/").rpartition("/")[2] for one in found):
            if name and name != self.name:
                yield self / name

    def stat(self) -> SimpleNamespace:
        """``st_size``, in bytes.

        Raises:
            FileNotFoundError: when there is no such file.
        """
        return SimpleNamespace(st_size=int(self._ask(lambda filesystem, path: filesystem.size(path))))

    def unlink(self) -> None:
        """Delete a file.

        Raises:
            FileNotFoundError: when there is none.
        """
        self._ask(lambda filesystem, path: filesystem.rm_file(path), "deleted")

    def _ask(self, question: Callable[[Any, str], T], what: str = "read") -> T:
        filesystem, path = filesystem_of(self.url)
        filesystem.invalidate_cache()
        try:
            return patiently(lambda: question(filesystem, path))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CodecError(f"{self}: cannot be {what} ({reason(error)}); run the same command again") from None


Folder = Path | RemotePath
"""Where a corpus lies."""


def folder_at(place: "str | Folder") -> Folder:
    """The folder of that name.

    Raises:
        CodecError: for a URL that became a path on its way here, and lost a slash.
    """
    if isinstance(place, RemotePath):
        return place
    if is_url(str(place)):
        return RemotePath(str(place).rstrip("/"))
    if _LOST.match(str(place)):
        raise CodecError(f"{place}: a path, not a URL; give it as text, with two slashes after the colon")
    return Path(place)


def local_folder(place: str, what: str) -> Path:
    """A folder on a disk.

    Raises:
        CodecError: for a URL.
    """
    if is_url(place):
        raise CodecError(f"{place}: {what} to a folder on a disk only; copy it from there")
    return Path(place)


def open_table(path: Folder) -> "Path | io.BytesIO":
    """What readers of parquet take; a file at a URL is read as a whole.

    Raises:
        FileNotFoundError: when a URL has none.
    """
    return path if isinstance(path, Path) else io.BytesIO(path.read_bytes())


@contextmanager
def remote_file(target: RemotePath) -> Iterator[BinaryIO]:
    """A file in memory that is written to ``target`` when the block ends well."""
    file = io.BytesIO()
    yield file
    target.write_bytes(file.getvalue())
