"""Dataclasses from plain dicts and back: strict about keys and types, with dotted overrides.

Every config of the project (model, training, evaluation) is a dataclass that is read through
:func:`from_dict`, so that a misspelled key is an error before any work starts.
"""

import ast
import dataclasses
import difflib
import functools
import inspect
import itertools
import textwrap
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

from codec.errors import CodecError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def from_dict(cls: type[T], values: dict[str, Any], where: str = "") -> T:
    """Build the dataclass ``cls`` from ``values``; nested dataclasses come from nested dicts.

    Args:
        cls: a dataclass type.
        values: plain data, as read from JSON or YAML.
        where: dotted path of ``values`` inside the whole config, for error messages.

    Raises:
        CodecError: on an unknown or missing key, or a value of the wrong type.
    """
    if not isinstance(values, dict):
        raise CodecError(f"config {where or cls.__name__}: expected a mapping, got {values!r}")
    hints = _settable(cls)
    for key in values:
        if key not in hints:
            raise CodecError(_unknown_key(key, hints, where or cls.__name__))
    missing = [
        field.name
        for field in dataclasses.fields(cls)
        if field.init
        and field.name not in values
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise CodecError(f"config {where or cls.__name__}: {', '.join(missing)} must be given")
    arguments = {
        key: _convert(hints[key], value, f"{where}.{key}" if where else key)
        for key, value in values.items()
    }
    try:
        return cls(**arguments)
    except TypeError as error:
        raise CodecError(f"config {where or cls.__name__}: {error}") from None


def to_dict(config: Any) -> dict[str, Any]:
    """Plain data of a config dataclass: dicts, lists, strings, numbers, booleans and None."""
    return _plain(dataclasses.asdict(config))


def override(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set ``values["a"]["b"] = value`` in place for ``dotted == "a.b"``.

    Missing mappings on the way are made; whether the keys exist is checked by :func:`from_dict`.

    Raises:
        CodecError: when a key on the way holds something that is not a mapping.
    """
    *parents, last = dotted.split(".")
    for key in parents:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise CodecError(f"cannot set {dotted}: {key} is {values!r}, not a group of settings")
    values[last] = value


def merge(base: dict[str, Any], changes: dict[str, Any], where: str = "") -> dict[str, Any]:
    """``base`` with ``changes`` laid over it, both left as they are.

    Mappings are merged key by key, a value of ``None`` removes its key, and all else replaces what was
    there, lists included.

    Args:
        base: plain settings.
        changes: plain settings, or a part of them.
        where: dotted path of ``base`` inside the whole config, for error messages.

    Raises:
        CodecError: when a key is to be removed that is not there, since it may be misspelled.
    """
    merged = dict(base)
    for key, value in changes.items():
        path = f"{where}.{key}" if where else str(key)
        if value is None:
            if key not in merged:
                raise CodecError(f"{path}: null removes a setting, and there is none of that name")
            del merged[key]
        elif isinstance(value, dict):
            below = merged.get(key)
            merged[key] = merge(below if isinstance(below, dict) else {}, value, path)
        else:
            merged[key] = value
    return merged


def flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Plain data by dotted path: ``{"a": {"b": 1}}`` is ``{"a.b": 1}``. An empty mapping is a value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def field_docs(cls: type) -> dict[str, str]:
    """The strings under a dataclass's fields, by field, its bases' too; none where there is no source."""
    docs: dict[str, str] = {}
    for base in reversed([base for base in cls.__mro__ if dataclasses.is_dataclass(base)]):
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError):
            continue
        definition = tree.body[0]
        body = definition.body if isinstance(definition, ast.ClassDef) else ()
        for field, after in itertools.pairwise(body):
            if not isinstance(after, ast.Expr) or not isinstance(after.value, ast.Constant):
                continue
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                docs[field.target.id] = " ".join(str(after.value.value).split())
    return docs


@functools.cache
def _settable(cls: type) -> dict[str, Any]:
    """Types of a dataclass's settable fields, by name; kept, since a manifest is read line by line."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _unknown_key(key: str, known: typing.Iterable[str], where: str) -> str:
    close = difflib.get_close_matches(str(key), list(known), n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
    return f"config {where}: unknown key {key!r}; {hint}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _convert_union(arguments, value, where)
    if origin is typing.Literal:
        if value not in arguments:
            raise CodecError(f"config {where}: {value!r} is none of {', '.join(map(str, arguments))}")
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    if origin in (list, tuple):
        return _convert_sequence(origin, arguments, value, where)
    if origin is dict:
        if not isinstance(value, dict):
            raise CodecError(f"config {where}: expected a mapping, got {value!r}")
        return {key: _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    return _convert_scalar(hint, value, where)


def _convert_union(arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    first_error = None
    for argument in arguments:
        if argument is type(None):
            continue
        try:
            return _convert(argument, value, where)
        except CodecError as error:
            first_error = first_error or error
    raise first_error or CodecError(f"config {where}: {value!r} does not fit")


def _convert_sequence(origin: type, arguments: tuple[Any, ...], value: Any, where: str) -> Any:
    if not isinstance(value, (list, tuple)):
        raise CodecError(f"config {where}: expected a list, got {value!r}")
    item_hint = arguments[0] if arguments else Any
    return origin(_convert(item_hint, item, f"{where}[{i}]") for i, item in enumerate(value))


def _convert_scalar(hint: type, value: Any, where: str) -> Any:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is float and is_number:
        return float(value)
    if hint is float and isinstance(value, str):
        # YAML reads 1e-4 (no dot) as a string.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is int and isinstance(value, bool):
        raise CodecError(f"config {where}: expected int, got {value!r}")
    if not isinstance(value, hint):
        raise CodecError(f"config {where}: expected {hint.__name__}, got {value!r}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
