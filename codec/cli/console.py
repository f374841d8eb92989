"""What the command says: results on standard output, everything else on standard error."""

import sys

from rich.console import Console


def print_error(message: str) -> None:
    """One line, whatever the message holds."""
    print(f"codec: error: {_one_line(message)}", file=sys.stderr)


def print_note(message: str) -> None:
    """One line about what was done."""
    print(_one_line(message), file=sys.stderr)


def progress_console() -> Console:
    """For progress bars: standard error, so that standard output can be piped."""
    return Console(stderr=True)


def _one_line(message: str) -> str:
    return " ".join(message.split())
