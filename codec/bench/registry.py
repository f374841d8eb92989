"""Benchmarks by name."""

from collections.abc import Callable

from codec.bench.types import BenchConfig, Table
from codec.registry import Registry

Benchmark = Callable[[BenchConfig], Table]
BENCHMARKS: Registry[Benchmark] = Registry("benchmark")

benchmark = BENCHMARKS.register
"""Function decorator: register what ``codec bench NAME`` runs."""


def find_benchmark(name: str) -> Benchmark:
    """
    Raises:
        CodecError: for a name that nobody registered.
    """
    # They register themselves, and need torch, which ``codec bench --help`` does without.
    from codec.bench import agreement, clients, floor, offline, profile, slots, stream, throughput  # noqa: F401

    return BENCHMARKS.find(name)
