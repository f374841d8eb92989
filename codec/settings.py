"""Settings from YAML: files, dotted overrides, and the dataclasses they fill."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from codec.config import from_dict, override
from codec.errors import CodecError

T = TypeVar("T")


def read_config(cls: type[T], path: str | Path | None, overrides: Iterable[str] = ()) -> T:
    """The dataclass ``cls`` from a YAML file (none: all defaults) and ``key.sub=value`` overrides.

    Raises:
        CodecError: for a file that cannot be read, an override without ``=``, or what
            :func:`codec.config.from_dict` refuses.
    """
    values = read_yaml(Path(path)) if path is not None else {}
    for item in overrides:
        dotted, equals, text = item.partition("=")
        if not equals or not dotted:
            raise CodecError(f"{item!r} is no override; expected key.sub=value")
        try:
            override(values, dotted, yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise CodecError(f"{item!r}: the value is not YAML ({_one_line(error)})") from None
    return from_dict(cls, values)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; an empty one from an empty file.

    Raises:
        CodecError: for a file that cannot be read, or holds no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CodecError(f"{path}: cannot be read as a config ({error})") from None
    except yaml.YAMLError as error:
        raise CodecError(f"{path}: not YAML ({_one_line(error)})") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise CodecError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    return values


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
