"""Commands that need an extra: an error names the missing package."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from codec.errors import CodecError

HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


@contextmanager
def require_extra(name: str, command: str | None = None) -> Iterator[None]:
    """Turn a missing package inside the block into advice to install the extra ``name``.

    Args:
        command: what needs it, where it is called otherwise than the extra.

    Raises:
        CodecError: instead of a ``ModuleNotFoundError`` of another package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "codec":
            raise
        raise CodecError(
            f"codec {command or name} needs the package {error.name}; run: pip install 'codec[{name}]'"
        ) from None


def run_extra(
    name: str, module: str, function: str, arguments: list[str], verb: str | None = None
) -> int | None:
    """Run the command ``function`` of a ``module`` that an extra's packages are needed for.

    Args:
        name: of the extra.
        verb: of the command, where it is called otherwise than the extra.
    """
    with require_extra(name, verb):
        command = typer.Typer(
            add_completion=False, pretty_exceptions_enable=False, context_settings=HELP_OPTIONS
        )
        command.command()(getattr(importlib.import_module(module), function))
        return command(arguments, prog_name=f"codec {verb or name}", standalone_mode=False)
