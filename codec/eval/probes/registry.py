"""Probes by name. A further probe is one file in this folder with one decorated class."""

import difflib
import importlib
import pkgutil
from pathlib import Path
from typing import Any, Protocol

from codec.config import from_dict
from codec.errors import CodecError
from codec.eval.probes.types import ProbeResult, ProbeTask


class Probe(Protocol):
    """What a registered class offers; it has a nested ``Config`` dataclass too."""

    name: str
    config: Any
    resembles: tuple[str, ...]
    """Losses that a model must not be trained with to be judged without a mark; none by default."""

    def check(self, task: ProbeTask) -> None:
        """Raise a :class:`CodecError` when the clips cannot serve, before any work."""

    def run(self, task: ProbeTask) -> ProbeResult:
        """Measure; clips that fail are listed in the result, not raised."""


_PROBES: dict[str, type] = {}


def probe(name: str):
    """Class decorator: register a probe, built as ``cls(cls.Config(...))``."""

    def register(probe_class: type) -> type:
        probe_class.name = name
        probe_class.resembles = getattr(probe_class, "resembles", ())
        _PROBES[name] = probe_class
        return probe_class

    return register


def probe_names() -> list[str]:
    """All registered names."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"{__package__}.{module.name}")
    return sorted(_PROBES)


def resemblances(names: list[str]) -> dict[str, tuple[str, ...]]:
    """Losses that each of these registered probes resembles."""
    probe_names()
    return {name: _PROBES[name].resembles for name in names}


def build_probe(name: str, options: dict[str, Any] | None = None) -> Probe:
    """Build a registered probe from plain options.

    Raises:
        CodecError: for a name that nobody registered, or an unknown option.
    """
    known = probe_names()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        raise CodecError(f"unknown probe {name!r}; {hint}")
    probe_class = _PROBES[name]
    return probe_class(from_dict(probe_class.Config, options or {}, f"probes.{name}"))
