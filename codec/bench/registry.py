"""Benchmarks by name."""

from collections.abc import Callable

from codec.bench.types import BenchConfig, Table
from codec.registry import Registry

Benchmark = Callable[[BenchConfig], Table]
BENCHMARKS: Registry[Benchmark] = Registry("benchmark", "codec.bench")

benchmark = BENCHMARKS.register
"""Function decorator: register what ``codec bench NAME`` runs."""


def find_benchmark(name: str) -> Benchmark:
    """
    Raises:
        CodecError: for a name that nobody registered.
    """
    return BENCHMARKS.find(name)
