"""Recordings in tars, and whether they still lie where they did."""

import io
import tarfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""Bytes of the tar: the first, and how many."""

_BLOCK = tarfile.BLOCKSIZE
_LONGEST = 128 * _BLOCK
"""Bytes that a header may take: a long name has blocks of its own, and so has what some systems add about a file."""


@dataclass(frozen=True)
class Member:
    """A recording in a tar, as it was found when the tar was listed.

    Attributes:
        name: in the tar.
        offset: of its first byte.
        size: in bytes.
    """

    name: str
    offset: int
    size: int

    def read(self, read: Read) -> bytes | None:
        """The recording; ``None`` where something else lies in its place."""
        start = max(0, self.offset - _BLOCK)
        data = read(start, self.offset + self.size - start)
        head, recording = data[: self.offset - start], data[self.offset - start :]
        return recording if self._follows(head, read) else None

    def is_there(self, read: Read) -> bool:
        """Whether it lies in its place still, by the header before it."""
        start = max(0, self.offset - _BLOCK)
        return self._follows(read(start, self.offset - start), read)

    def _follows(self, head: bytes, read: Read) -> bool:
        """Whether its header ends with ``head``, the last block before it."""
        start = max(0, self.offset - _LONGEST)
        return self._ends(head) or self._ends(read(start, self.offset - start))

    def _ends(self, head: bytes) -> bool:
        """Whether its header, which for a long name has several blocks, ends these."""
        expected = self.name, self.size, len(head)
        for start in range(len(head) - _BLOCK, -1, -_BLOCK):
            with suppress(tarfile.TarError, EOFError, ValueError):
                with tarfile.open(fileobj=io.BytesIO(head[start:]), mode="r:") as tar:
                    found = tar.next()
                if found is not None and (found.name, found.size, start + found.offset_data) == expected:
                    return True
        return False
