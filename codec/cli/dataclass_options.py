"""Options of a command from the fields of its config, so that no default and no help is typed twice.

::

    @options_of(ServeConfig, {"port": flag("--port", "-p"), "origins": flag("--origin", repeated=True)})
    def serve(config: ServeConfig, threads: Threads = 1) -> None: ...

``serve`` then takes ``--host``, ``--port`` and so on, and gets them as a checked ``ServeConfig``.
"""

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from codec.config import field_docs, from_dict, override
from codec.console import print_note
from codec.errors import CodecError

_SCALARS = (bool, int, float, str, Path)


@dataclasses.dataclass(frozen=True)
class Flag:
    """The command-line form of a field that ``--its-name`` does not suit.

    Attributes:
        names: such as ``("--port", "-p")``.
        repeated: a list is given one item at a time, ``--origin A --origin B``, not as ``A,B``.
        earlier: a name that the option had before, such as ``--peers``. It still works, is not in the help,
            and warns.
        settings: more for ``typer.Option``: ``min``, ``envvar``, ``show_default``...
    """

    names: tuple[str, ...] = ()
    repeated: bool = False
    earlier: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def flag(*names: str, repeated: bool = False, earlier: str = "", **settings: Any) -> Flag:
    """A :class:`Flag`, written as a call of ``typer.Option``."""
    return Flag(names, repeated, earlier, settings)


@dataclasses.dataclass(frozen=True)
class _Option:
    """One field as an option.

    Attributes:
        path: of the field, dotted inside nested configs.
        name: as it is typed.
        parameter: what typer makes the option of.
        item: type of a list's items where the option takes them with commas between, else ``None``.
        earlier: its earlier name, if any.
    """

    path: str
    name: str
    parameter: inspect.Parameter
    item: type | None
    earlier: str

    @property
    def earlier_parameter(self) -> inspect.Parameter:
        """The earlier name as a hidden option."""
        name = self.earlier.lstrip("-").replace("-", "_")
        hint: Any = typing.get_args(self.parameter.annotation)[0] | None
        annotation: Any = Annotated[hint, typer.Option(self.earlier, hidden=True)]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)

    def chosen(self, given: dict[str, Any]) -> Any:
        """Take the value out of ``given``, from the earlier name where that was used, with a note.

        Raises:
            CodecError: when both names were used.
        """
        value = given.pop(self.parameter.name)
        earlier = given.pop(self.earlier_parameter.name) if self.earlier else None
        if earlier is None:
            return value
        if value != self.parameter.default:
            raise CodecError(f"{self.earlier} is the earlier name of {self.name}; give one of them")
        print_note(f"warning: {self.earlier} is deprecated; use {self.name}")
        return earlier

    def plain(self, value: Any) -> Any:
        """The value for :func:`codec.config.from_dict`.

        Raises:
            CodecError: for text that is not a list of such items.
        """
        if value is None or self.item is None:
            return value
        parts = [part.strip() for part in value.split(",") if part.strip()]
        try:
            if not parts and self.item is not str:
                raise ValueError
            return [self.item(part) for part in parts]
        except ValueError:
            raise CodecError(f"{self.name} {value}: expected numbers with commas, as 1,2,4,8") from None


def options_of(
    cls: type, flags: Mapping[str, Flag] | None = None, order: Sequence[str] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command whose first parameter is a ``cls``: typer sees that config's fields as options.

    A field gives the option its default, its type and, with the string under it, its help. The fields of
    nested configs have dotted names: ``selection.limit`` is ``--selection.limit``.

    Args:
        cls: a dataclass with fields of :data:`_SCALARS`, ``Literal``, lists and tuples of scalars, such
            types ``| None``, and dataclasses of the same kind.
        flags: other looks of options, by dotted field.
        order: fields and parameters in the order of the help; those that it leaves out come at the end,
            the command's own first.

    Raises:
        TypeError: for a field of another type, or a name that is no field's.
    """
    flags = dict(flags or {})
    options = {option.parameter.name: option for option in _options(cls, flags, "")}
    if flags:
        raise TypeError(f"{cls.__name__} has no field {next(iter(flags))}")

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
        known = {parameter.name: parameter for parameter in own}
        known |= {name: option.parameter for name, option in options.items()}
        known |= {o.earlier_parameter.name: o.earlier_parameter for o in options.values() if o.earlier}
        ordered = {name.replace(".", "_"): None for name in order} | dict.fromkeys(known)
        shown = [known[name].replace(kind=inspect.Parameter.KEYWORD_ONLY) for name in ordered]

        @functools.wraps(command)
        def run(**given: Any) -> Any:
            values: dict[str, Any] = {}
            for option in options.values():
                override(values, option.path, option.plain(option.chosen(given)))
            return command(from_dict(cls, values), **given)

        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # where inspect looks
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        return run

    return decorate


def annotations_of(cls: type, flags: Mapping[str, Flag] | None = None) -> dict[str, Any]:
    """The fields of a config as annotations, for commands that take some of them as parameters of their own."""
    return {
        option.path: option.parameter.annotation for option in _options(cls, dict(flags or {}), "")
    }


def _options(cls: type, flags: dict[str, Flag], prefix: str) -> Iterator[_Option]:
    """Options of all fields, nested ones in their place; takes what it uses out of ``flags``."""
    hints, docs = typing.get_type_hints(cls), field_docs(cls)
    for field in dataclasses.fields(cls):
        hint, path = hints[field.name], prefix + field.name
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _options(hint, flags, f"{path}.")
            continue
        looks = flags.pop(path, Flag())
        try:
            kind, item = _kind(hint, looks.repeated)
        except TypeError:
            raise TypeError(f"{cls.__name__}.{field.name}: {hint} cannot be an option") from None
        default = _default(field, item)
        names = looks.names or _names(path, default)
        option = typer.Option(*names, **{"help": docs.get(field.name)} | dict(looks.settings))
        parameter = inspect.Parameter(
            path.replace(".", "_"),
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )
        yield _Option(path, names[0], parameter, item, looks.earlier)


def _names(path: str, default: Any) -> tuple[str, ...]:
    name = path.replace("_", "-")
    return (f"--{name}/--no-{name}",) if default is True else (f"--{name}",)


def _kind(hint: Any, repeated: bool) -> tuple[Any, type | None]:
    """The option's type for typer, and that of a list's items where commas part them."""
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        members = [argument for argument in arguments if argument is not type(None)]
        if len(members) != 1:
            raise TypeError
        kind, item = _kind(members[0], repeated)
        return kind | None, item
    if typing.get_origin(hint) in (list, tuple):
        if arguments[0] not in _SCALARS:
            raise TypeError
        return (types.GenericAlias(list, (arguments[0],)), None) if repeated else (str, arguments[0])
    if hint not in _SCALARS and typing.get_origin(hint) is not typing.Literal:
        raise TypeError
    return hint, None


def _default(field: "dataclasses.Field[Any]", item: type | None) -> Any:
    """The default as the option shows it; without one the option is required."""
    if field.default is not dataclasses.MISSING:
        value = field.default
    elif field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    else:
        return inspect.Parameter.empty
    if isinstance(value, list | tuple):
        return list(value) if item is None else ",".join(f"{x:g}" if item is float else str(x) for x in value)
    return value
