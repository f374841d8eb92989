"""Probes by name. A further probe is one file in this folder with one decorated class."""

from typing import Any, Protocol

from codec.config import from_dict
from codec.eval.probes.types import ProbeResult, ProbeTask
from codec.registry import Registry


class Probe(Protocol):
    """The interface of a registered class, which also has a nested ``Config`` dataclass."""

    name: str
    config: Any
    resembles: tuple[str, ...]
    """Losses that a model must not be trained with to be scored without a mark; none by default."""
    of_encoders: bool
    """Whether it looks at vectors, which any encoder has, rather than at tokens; false by default."""

    def check(self, task: ProbeTask) -> None:
        """Raise a :class:`CodecError` when the clips cannot serve, before any work."""

    def run(self, task: ProbeTask) -> ProbeResult:
        """Run the probe; clips that fail are listed in the result, not raised."""


def _introduce(name: str, probe_class: type[Any]) -> None:
    probe_class.name = name
    probe_class.resembles = getattr(probe_class, "resembles", ())
    probe_class.of_encoders = getattr(probe_class, "of_encoders", False)


PROBES: Registry[type[Any]] = Registry("probe", "codec.eval.probes", introduce=_introduce)

probe = PROBES.register
"""Class decorator: register a probe, built as ``cls(cls.Config(...))``."""


def probe_names() -> list[str]:
    """All registered names."""
    return sorted(PROBES)


def resemblances(names: list[str]) -> dict[str, tuple[str, ...]]:
    """Losses that each of these registered probes resembles."""
    return {name: PROBES[name].resembles for name in names}


def build_probe(name: str, options: dict[str, Any] | None = None) -> Probe:
    """Build a registered probe from plain options.

    Raises:
        CodecError: for a name that nobody registered, or an unknown option.
    """
    probe_class = PROBES.find(name)
    return probe_class(from_dict(probe_class.Config, options or {}, f"probes.{name}"))
