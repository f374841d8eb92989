"""Output of the command: results on standard output, everything else on standard error."""

import re
import sys

_BREAKS = re.compile(r"\s*[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]\s*")


def print_error(message: str) -> None:
    """One line, whatever the message holds."""
    print_note(f"codec: error: {message}")


def print_note(message: str) -> None:
    """One line about what was done."""
    if sys.stderr is not None:  # closed: print would take standard output instead
        print(printable(message), file=sys.stderr)


def counted(count: int, noun: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """One line that any terminal can take, with other characters of file names escaped."""
    line = _BREAKS.sub(" ", text.strip())
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in line
    )
