"""Baselines by name: ``opus:6`` is the baseline ``opus`` with the argument ``6``."""

from codec.deprecation import renamed
from codec.errors import CodecError
from codec.eval.systems.base import System
from codec.registry import Registry

BASELINES: Registry[type[System]] = Registry("baseline", "codec.eval.systems", earlier="peer")


baseline = BASELINES.register
"""Class decorator: register a :class:`System` that has ``parse(argument) -> System``."""


def baseline_names() -> list[str]:
    """Registered names."""
    return sorted(BASELINES)


def parse_baseline(spec: str) -> System:
    """A baseline from ``NAME:ARGUMENT``.

    Raises:
        CodecError: for an unknown name or an argument that the baseline does not understand.
    """
    name, _, argument = spec.partition(":")
    return BASELINES.find(name).parse(argument)


def parse_number(argument: str, spec: str, low: float, high: float) -> float:
    """A number within limits.

    Raises:
        CodecError: when ``argument`` is no such number.
    """
    try:
        value = float(argument)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        if not argument:
            raise CodecError(f"baseline {spec}: expected {spec}:NUMBER, from {low:g} to {high:g}")
        raise CodecError(f"baseline {spec}:{argument}: expected a number from {low:g} to {high:g}")
    return value


__getattr__ = renamed(__name__, {"peer": ("baseline", baseline), "parse_peer": ("parse_baseline", parse_baseline)})


__getattr__ = renamed(__name__, {"peer": ("baseline", baseline), "parse_peer": ("parse_baseline", parse_baseline)})
