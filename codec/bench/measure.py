"""Clocks, percentiles and memory."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Percentiles:
    """Percentiles of a sample, in its unit; ``worst`` is the largest."""

    p50: float
    p95: float
    p99: float
    worst: float


def percentiles(values: Sequence[float]) -> Percentiles:
    """The smallest values that 50, 95 and 99 % of the sample do not exceed."""
    ordered = sorted(values)

    def at(percent: int) -> float:
        return ordered[max(0, -(-len(ordered) * percent // 100) - 1)]

    return Percentiles(at(50), at(95), at(99), ordered[-1])


def late(latencies: Sequence[float], limit: float) -> int:
    """Number of values that exceed the limit."""
    return sum(latency > limit for latency in latencies)


def seconds_of(call: Callable[[], object], device: str = "cpu") -> float:
    """Wall time of a call, the device's work included."""
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def arithmetic(device: str) -> str:
    """The precision in which matrix products and convolutions of float32 are computed."""
    if device != "cuda":
        return "float32"
    products = "float32" if torch.get_float32_matmul_precision() == "highest" else "tf32"
    convolutions = "tf32" if torch.backends.cudnn.allow_tf32 else "float32"
    return f"products in {products}, convolutions of cuDNN in {convolutions}"


def resident_megabytes() -> float:
    """Memory of this process now; 0 where the system does not say."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return 0.0
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
