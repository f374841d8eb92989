"""Benchmarks by name."""

from collections.abc import Callable

from codec.bench.types import BenchConfig, Table
from codec.errors import CodecError

Benchmark = Callable[[BenchConfig], Table]
_BENCHMARKS: dict[str, Benchmark] = {}


def benchmark(name: str) -> Callable[[Benchmark], Benchmark]:
    """Function decorator: register what ``codec bench NAME`` runs."""

    def register(function: Benchmark) -> Benchmark:
        _BENCHMARKS[name] = function
        return function

    return register


def benchmark_names() -> list[str]:
    """In alphabetical order."""
    return sorted(_BENCHMARKS)


def find_benchmark(name: str) -> Benchmark:
    """
    Raises:
        CodecError: for a name that nobody registered.
    """
    if name not in _BENCHMARKS:
        raise CodecError(f"unknown benchmark {name!r}; known: {', '.join(benchmark_names())}")
    return _BENCHMARKS[name]
