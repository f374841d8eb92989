"""Things by name: what the package registers itself, and what other packages offer by entry points."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from codec.errors import CodecError

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Classes or functions by name.

    A package of a user's own joins in with an entry point of the group ``codec.KIND`` (spaces as
    underscores), say ``[project.entry-points."codec.loss"] my_loss = "my_package:MyLoss"``. It is imported
    when somebody asks for its name or for all of them.
    """

    def __init__(self, kind: str):
        """
        Args:
            kind: what the things are, for messages and entry points, such as ``loss``.
        """
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers what it stands above.

        Raises:
            CodecError: when something else has that name already.
        """

        def add(item: T) -> T:
            known = self._items.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (
                item.__module__,
                item.__qualname__,
            ):
                raise CodecError(f"two {self.kind} registrations are called {name!r}; rename one")
            self._items[name] = item
            return item

        return add

    def find(self, name: object, where: str = "") -> T:
        """What is registered under ``name``.

        Args:
            where: place in a config, which begins the message.

        Raises:
            CodecError: when nothing is; the message has the nearest name, or all of them.
        """
        if name in self._items:
            return self._items[name]
        self._load_entry_points()
        if name in self._items:
            return self._items[name]
        close = difflib.get_close_matches(str(name), list(self._items), n=1)
        known = ", ".join(sorted(self._items)) or "none"
        hint = f"did you mean {close[0]!r}? " if close else ""
        prefix = f"{where}: " if where else ""
        raise CodecError(f"{prefix}unknown {self.kind} {name!r}; {hint}known: {known}")

    def __getitem__(self, name: str) -> T:
        self._load_entry_points()
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        self._load_entry_points()
        return iter(self._items)

    def __len__(self) -> int:
        self._load_entry_points()
        return len(self._items)

    def _load_entry_points(self) -> None:
        for point in entry_points(group=f"codec.{self.kind.replace(' ', '_')}"):
            if point.name not in self._items:
                self._items[point.name] = point.load()
