"""Settings from YAML: shipped configs and files, what they are based on, and dotted overrides."""

import dataclasses
import difflib
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from codec.config import from_dict, merge, override
from codec.errors import CodecError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")

_YAML_SIGNS = "*&!%@`"
"""Signs that a value of YAML without quotes cannot begin with, or that mean something else there."""
CONFIGS = Path(__file__).resolve().parent / "configs"
"""The configs that the package ships."""


def read_config(
    cls: type[T],
    config: str | Path | None,
    overrides: Iterable[str] = (),
    choose: Callable[[dict[str, Any]], type[T]] | None = None,
    rewrite: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> T:
    """The dataclass ``cls`` from a config (none: all defaults) and ``key.sub=value`` overrides.

    Args:
        config: a YAML file, or the name of a shipped config.
        choose: a class for the settings that are there, in place of ``cls``.
        rewrite: from settings with other keys to those of the class.

    Raises:
        CodecError: for a file that cannot be read, an override without ``=``, or what
            :func:`codec.config.from_dict` refuses.
    """
    # A class with a setting of that name gives it another meaning.
    based = "base" not in {field.name for field in dataclasses.fields(cls)}
    values = read_settings(config, based) if config is not None else {}
    apply_overrides(values, overrides)
    if rewrite is not None:
        values = rewrite(values)
    return from_dict(cls if choose is None else choose(values), values)


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set ``key.sub=value`` items, whose values are YAML, in ``values``.

    ``null`` takes out a group of settings that is there (``teachers.sm=null``), and is a value elsewhere.

    Raises:
        CodecError: for an item without ``=``, a value that is not YAML, or a key below one that is not a mapping.
    """
    for item in overrides:
        dotted, equals, text = item.partition("=")
        if not equals or not dotted:
            named = not equals and (item.endswith((".yaml", ".yml")) or (CONFIGS / f"{item}.yaml").is_file())
            hint = f"write --config {item} for the config" if named else "expected key.sub=value"
            raise CodecError(f"{item!r} is not an override; {hint}")
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError as error:
            # A shell takes the outer quotes of a pattern such as '*.flac', which YAML reads as the name of an alias.
            hint = f"; write '{dotted}=\"{text}\"'" if text[:1] in _YAML_SIGNS and '"' not in text else ""
            raise CodecError(f"{item!r}: the value is not YAML ({_one_line(error)}){hint}") from None
        if value is not None or not _remove_group(values, dotted):
            override(values, dotted, value)


def _remove_group(values: dict[str, Any], dotted: str) -> bool:
    """Take out the mapping at ``dotted``; false where there is none."""
    *parents, last = dotted.split(".")
    for key in parents:
        below = values.get(key)
        if not isinstance(below, dict):
            return False
        values = below
    return isinstance(values.get(last), dict) and values.pop(last) is not None


def read_settings(config: str | Path, based: bool = True) -> dict[str, Any]:
    """The settings of a config, laid over those of its ``base``.

    ``base`` is the name of a shipped config or a file, whose path is relative to the file that names it.
    Mappings are merged, and a value of ``null`` removes what the base has (:func:`codec.config.merge`).

    Args:
        based: whether the key ``base`` is looked at.

    Raises:
        CodecError: for a config that is not there or cannot be read, or one that is based on itself.
    """
    path = find_config(config)
    chain = [(path, read_yaml(path))]
    while based and (base := chain[-1][1].pop("base", None)) is not None:
        above = find_config(base, chain[-1][0].parent)
        if above in [known for known, _ in chain]:
            raise CodecError(f"{path}: base {base!r} leads back to a config that is based on it")
        chain.append((above, read_yaml(above)))
    values: dict[str, Any] = chain[-1][1]
    for file, changes in reversed(chain[:-1]):
        try:
            values = merge(values, changes)
        except CodecError as error:
            raise CodecError(f"{file}: {error}") from None
    return values


def find_config(config: str | Path, folder: Path | None = None) -> Path:
    """The file of a config: a path, tried from ``folder`` first, or a shipped config's name.

    Raises:
        CodecError: when there is neither.
    """
    path = Path(config).expanduser()
    for candidate in ([folder / path] if folder is not None else []) + [path]:
        if candidate.suffix and candidate.is_file():
            return candidate.resolve()
    shipped = {file.stem: file for file in sorted(CONFIGS.glob("*.yaml"))}
    if str(config) in shipped:
        return shipped[str(config)]
    if path.parent.parts[-2:] == ("recipes", "configs") and path.stem in shipped:
        warnings.warn(f"{config} is now a shipped config; use --config {path.stem}", FutureWarning, stacklevel=2)
        return shipped[path.stem]
    close = difflib.get_close_matches(path.stem, shipped, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise CodecError(f"no config {str(config)!r}; {hint}shipped ones: {', '.join(shipped)}")


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
