"""Things by name: what the package registers itself, and what other packages offer by entry points."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from codec.errors import CodecError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Classes or functions by name.

    A package of a user's own joins in with an entry point of the group ``codec.KIND`` (spaces as
    underscores), say ``[project.entry-points."codec.loss"] my_loss = "my_package:MyLoss"``. The names are
    known without an import; the package is imported when somebody asks for one of its things.
    """

    def __init__(
        self,
        kind: str,
        *places: str,
        introduce: Callable[[str, T], None] | None = None,
        earlier: str | None = None,
    ):
        """
        Args:
            kind: what the things are, for messages and entry points, such as ``loss``.
            places: modules, and packages with all their modules, that are imported before the first look,
                since things register themselves in them; for those that are heavy to import.
            introduce: called with the name and the thing, once for each that enters, decorated or not.
            earlier: a kind as it was called before; entry points of that group still count.
        """
        self.kind = kind
        self._places = places
        self._introduce = introduce or _leave
        self._groups = [f"codec.{name.replace(' ', '_')}" for name in (earlier, kind) if name]
        self._items: dict[str, T] = {}
        self._points: dict[str, EntryPoint] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers what it stands above; the same thing again, as after a reload, is fine.

        Raises:
            CodecError: when something else has that name already.
        """

        def add(item: T) -> T:
            known = self._items.get(name)
            if known is not None and _origin(known) != _origin(item):
                raise CodecError(f"two {self.kind} registrations are called {name!r}; rename one")
            self._introduce(name, item)
            self._items[name] = item
            return item

        return add

    def find(self, name: object, where: str = "") -> T:
        """The thing that is registered under ``name``.

        Args:
            where: place in a config, which begins the message.

        Raises:
            CodecError: when nothing is; the message has the nearest name, and all of them. Or when the
                package that offers it cannot be imported.
        """
        if isinstance(name, str) and name in self:
            return self[name]
        names = sorted(self)
        close = difflib.get_close_matches(str(name), names, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        prefix = f"{where}: " if where else ""
        raise CodecError(f"{prefix}unknown {self.kind} {name!r}; {hint}known: {', '.join(names) or 'none'}")

    def __getitem__(self, name: str) -> T:
        offered = self._offered()
        if name not in self._items:
            point = offered[name]
            try:
                item = point.load()
            except Exception as error:
                owner = point.dist.name if point.dist else point.value
                raise CodecError(f"{self.kind} {name!r} of the package {owner}: {error}") from error
            # Its own decorator may have registered it.
            if name not in self._items:
                self.register(name)(item)
        return self._items[name]

    def __contains__(self, name: object) -> bool:
        return name in self._known()

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def _known(self) -> dict[str, None]:
        offered = self._offered()
        return dict.fromkeys((*self._items, *offered))

    def _offered(self) -> dict[str, EntryPoint]:
        # Emptied first: a module that registers things may look some up.
        places, self._places = self._places, ()
        for place in places:
            module = importlib.import_module(place)
            for part in pkgutil.iter_modules(getattr(module, "__path__", ()), f"{place}."):
                importlib.import_module(part.name)
        if self._points is None:
            self._points = {point.name: point for group in self._groups for point in entry_points(group=group)}
        return self._points


def _leave(name: str, item: Any) -> None:
    """Things that need not know their name."""


def _origin(item: Any) -> Any:
    """The identity of a registered thing: where a class or function is defined, else its value."""
    if isinstance(item, type) or callable(item):
        return getattr(item, "__module__", None), getattr(item, "__qualname__", None)
    return item
