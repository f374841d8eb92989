"""Names that were changed: the earlier one still works, and warns."""

import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

MOVED = {
    "codec.model.functions": "codec.engines.torch",
    "codec.model.quantizer": "codec.quantizers.rvq",
    "codec.train.compare": "codec.compare",
    "codec.train.corpus": "codec.data.corpus",
    "codec.train.data": "codec.data.loading",
    "codec.train.discriminators": "codec.discriminators",
    "codec.train.features": "codec.teachers.features",
    "codec.train.quantizer": "codec.train.quantizers.residual",
    "codec.train.teachers": "codec.teachers",
}
"""Earlier names of modules, and of packages with their modules, and where they are now."""


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


class MovedModules(MetaPathFinder, Loader):
    """Imports a module of :data:`MOVED` from where it is now.

    It stands before the finder of files, which would load a part of a moved package a second time.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for an earlier name whose module exists under its current one."""
        current = _current_name(fullname)
        if current is None or importlib.util.find_spec(current) is None:
            return None
        return ModuleSpec(fullname, self, origin=current)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """The module under its current name: both names are one module."""
        current = _current_name(spec.name)
        assert current is not None
        warnings.warn(f"{spec.name} is now {current}", DeprecationWarning, stacklevel=6)
        return importlib.import_module(current)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is left to do but to give the module its own spec back, which the import has replaced."""
        module.__spec__ = importlib.util.spec_from_loader(module.__name__, module.__loader__)


def _current_name(name: str) -> str | None:
    for earlier, current in MOVED.items():
        if name == earlier or name.startswith(f"{earlier}."):
            return current + name.removeprefix(earlier)
    return None


def keep_moved_modules() -> None:
    """Let imports of earlier names succeed, once for this process."""
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
