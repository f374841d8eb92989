"""Names that were changed: the earlier one still works, and warns."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any


def renamed(module: str, names: Mapping[str, tuple[str, Any]]) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that keeps earlier names of its classes and functions.

    ::

        __getattr__ = renamed(__name__, {"peer": ("baseline", baseline)})

    Args:
        module: name of the module.
        names: by earlier name, the current name and the thing itself.

    Returns:
        A function that gives the thing with a ``DeprecationWarning``, and raises ``AttributeError`` for
        any other name.
    """

    def find(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        current, thing = names[name]
        warnings.warn(f"{module}.{name} is now called {current}", DeprecationWarning, stacklevel=2)
        return thing

    return find
