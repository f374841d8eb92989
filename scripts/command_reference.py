"""Print the help of `codec` and of all its commands as Markdown: the reference of docs/cli.md.

    python scripts/command_reference.py

Needs the extra all, because the commands read their options from the code that they run.
"""

import io
import os
import re
from contextlib import redirect_stdout

# Plain lines of a fixed width, as they are read when typer is imported.
os.environ |= {"TYPER_USE_RICH": "0", "COLUMNS": "100", "NO_COLOR": "1"}

from codec.cli import main

_COMMANDS = re.compile(r"^Commands:\n(.*?)(?:\n\n|\Z)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"^  ([a-z][\w-]*)", re.MULTILINE)


def help_of(words: list[str]) -> str:
    """What ``codec WORDS... --help`` prints."""
    output = io.StringIO()
    with redirect_stdout(output):
        try:
            status = main([*words, "--help"])
        except SystemExit as end:  # argparse, of the commands that read a config
            status = end.code
    if status:
        raise RuntimeError(f"codec {' '.join(words)} --help ended with status {status}")
    return output.getvalue().strip()


def subcommands(text: str) -> list[str]:
    """Names that a help lists under Commands."""
    listed = _COMMANDS.search(text)
    return _NAME.findall(listed[1]) if listed else []


def reference(words: list[str] | None = None) -> str:
    """Markdown of a command and of those below it, each with a heading and its help in a block."""
    words = words or []
    text = help_of(words)
    heading = f"{'#' * (len(words) + 2)} {' '.join(['codec', *words])}"
    parts = [f"{heading}\n\n```text\n{text}\n```"]
    return "\n\n".join([*parts, *(reference([*words, name]) for name in subcommands(text))])


if __name__ == "__main__":
    print(reference())
