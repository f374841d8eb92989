"""Standard input and output as bytes, which may be closed, a terminal, or full."""

import os
import sys
from io import BufferedReader
from typing import BinaryIO, cast

from codec.errors import CodecError

STANDARD_OUTPUT = "standard output"


def standard_input() -> BufferedReader:
    """Raise a :class:`CodecError` when nothing can come from it."""
    if sys.stdin is None:
        raise CodecError("standard input is closed; pipe something into this command")
    if sys.stdin.isatty():
        raise CodecError("standard input is a terminal; pipe the stream into this command")
    # It is one, of which its declared type says less.
    return cast(BufferedReader, sys.stdin.buffer)


def standard_output() -> BinaryIO:
    """Raise a :class:`CodecError` when nothing can go to it."""
    if sys.stdout is None:
        raise CodecError("standard output is closed; name a file or pipe it into another command")
    return sys.stdout.buffer


def silence_output() -> None:
    """Lose what is still buffered: it would raise again when Python closes standard output."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
