"""Peers by name: ``opus:6`` is the peer ``opus`` with the argument ``6``."""

from codec.errors import CodecError
from codec.eval.systems.base import System
from codec.registry import Registry

PEERS: Registry[type[System]] = Registry("peer", "codec.eval.systems")


peer = PEERS.register
"""Class decorator: register a :class:`System` that has ``parse(argument) -> System``."""


def peer_names() -> list[str]:
    """Registered names."""
    return sorted(PEERS)


def parse_peer(spec: str) -> System:
    """A peer from ``NAME:ARGUMENT``.

    Raises:
        CodecError: for an unknown name or an argument that the peer does not understand.
    """
    name, _, argument = spec.partition(":")
    return PEERS.find(name).parse(argument)


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
