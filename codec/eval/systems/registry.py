"""Peers by name: ``opus:6`` is the peer ``opus`` with the argument ``6``."""

from codec.errors import CodecError
from codec.eval.systems.base import System

_PEERS: dict[str, type[System]] = {}


def peer(name: str):
    """Class decorator: register a :class:`System` that has ``parse(argument) -> System``."""

    def register(system_class: type[System]) -> type[System]:
        _PEERS[name] = system_class
        return system_class

    return register


def peer_names() -> list[str]:
    """Registered names."""
    return sorted(_PEERS)


def parse_peer(spec: str) -> System:
    """A peer from ``NAME:ARGUMENT``.

    Raises:
        CodecError: for an unknown name or an argument that the peer does not understand.
    """
    name, _, argument = spec.partition(":")
    if name not in _PEERS:
        raise CodecError(f"unknown peer {spec!r}; peers are {', '.join(f'{n}:...' for n in peer_names())}")
    return _PEERS[name].parse(argument)


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
        raise CodecError(f"peer {spec}:{argument}: expected a number from {low:g} to {high:g}")
    return value
