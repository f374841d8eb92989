"""Verbs that read a config: YAML, dotted overrides, and a ``--help`` that lists every key.

``codec train --config default optim.lr=1e-4 teachers.sm.layer=last``
"""

import argparse
import dataclasses
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from codec.config import field_docs
from codec.console import print_error
from codec.errors import CodecError
from codec.settings import read_config

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def run_recipe(
    cls: type[T],
    work: Callable[[T], int | None],
    description: str,
    groups: Mapping[str, type] | None = None,
    arguments: list[str] | None = None,
    program: str | None = None,
    choose: Callable[[dict[str, Any]], type[T]] | None = None,
) -> int:
    """Parse the command line into ``cls`` and call ``work`` with it.

    Args:
        groups: configs of registered parts that ``cls`` holds as plain dicts, by the key to show
            them under in ``--help`` (``teachers.NAME (type: speech)``).
        arguments: the command line without the program; the process's own by default.
        program: what the command is called; the script's name by default.
        choose: a class for the settings that are given, in place of ``cls``.

    Returns:
        the exit status: what ``work`` returns, or 1 after printing a :class:`CodecError`.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=_describe(cls, groups or {}),
    )
    parser.add_argument("--config", metavar="NAME|YAML", help="a shipped config, or a file with any of the keys below")
    parser.add_argument("overrides", nargs="*", metavar="KEY.SUB=VALUE", help="set one key")
    options = parser.parse_intermixed_args(arguments)
    try:
        return work(read_config(cls, options.config, options.overrides, choose)) or 0
    except CodecError as error:
        print_error(str(error))
        return 1


def _describe(cls: type, groups: Mapping[str, type]) -> str:
    lines = ["keys and defaults:", *_rows(cls, "")]
    for title, group in groups.items():
        lines += ["", f"{title}:", *_rows(group, "")]
    return "\n".join(lines)


def _rows(cls: type, prefix: str) -> Iterator[str]:
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        classes = (hint for hint in _members(hints[field.name]) if isinstance(hint, type))
        nested = next((hint for hint in classes if dataclasses.is_dataclass(hint)), None)
        if nested is not None:
            yield from _rows(nested, f"{prefix}{field.name}.")
            continue
        head = f"  {prefix}{field.name}={_default(field)}"
        doc = docs.get(field.name, "")
        yield from textwrap.wrap(
            f"{head}  {doc}".rstrip(), 100, subsequent_indent="      ", break_long_words=False
        )


def _members(hint: Any) -> tuple[Any, ...]:
    """The hint itself, or the members of a union such as ``Part | None``."""
    arguments = typing.get_args(hint)
    return arguments if type(None) in arguments else (hint,)


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return "(required)"
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True).removesuffix("...\n").strip()
