"""Counters of the server in the text format that Prometheus reads."""

import resource
import threading
from bisect import bisect_left
from collections import Counter
from pathlib import Path

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FRAMES = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_BOUNDS = {"frame_seconds": _SECONDS, "tick_seconds": _SECONDS, "tick_frames": _FRAMES}
_HELP = {
    "connections_total": "WebSocket connections that came.",
    "closed_total": "Connections that the server closed for a fault, by its code.",
    "frames_encoded_total": "Frames of codes sent.",
    "frames_decoded_total": "Frames that were decoded to sound.",
    "late_frames_total": "Frames whose codes left later than allowed after they were complete.",
    "received_bytes_total": "Payload received from clients.",
    "sent_bytes_total": "Payload sent to clients.",
    "frame_seconds": "From a complete frame to its codes being sent.",
    "tick_seconds": "Computation of one step of the model.",
    "tick_frames": "Frames of all clients in one step of the model.",
    "clients": "Clients with a stream.",
    "max_clients": "Clients that may come.",
}


class Metrics:
    """Counters and histograms, written by the event loop and by the thread of the model."""

    def __init__(self, max_clients: int):
        self._lock = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        for name in _HELP:
            if name.endswith("_total") and name != "closed_total":
                self._counts[name, ""] = 0
        self._histograms = {name: _Histogram(bounds) for name, bounds in _BOUNDS.items()}
        self._gauges = {"clients": 0, "max_clients": max_clients}

    def add(self, name: str, amount: int = 1, code: str = "") -> None:
        """Count ``amount`` more, of a fault's ``code`` where there is one."""
        with self._lock:
            self._counts[name, code] += amount

    def observe(self, name: str, value: float) -> None:
        with self._lock:
            self._histograms[name].observe(value)

    def set(self, name: str, value: int) -> None:
        with self._lock:
            self._gauges[name] = value

    def count(self, name: str, code: str = "") -> int:
        with self._lock:
            return self._counts[name, code]

    def text(self) -> str:
        """Everything, one line a value."""
        lines: list[str] = []
        with self._lock:
            for name, about in _HELP.items():
                kind = "gauge" if name in self._gauges else "histogram"
                kind = "counter" if name.endswith("_total") else kind
                lines += [f"# HELP codec_serve_{name} {about}", f"# TYPE codec_serve_{name} {kind}"]
                lines += [f"codec_serve_{line}" for line in self._lines(name)]
        lines += ["# TYPE process_resident_memory_bytes gauge"]
        lines += [f"process_resident_memory_bytes {resident_bytes()}"]
        return "\n".join(lines) + "\n"

    def _lines(self, name: str) -> list[str]:
        if name in self._gauges:
            return [f"{name} {self._gauges[name]}"]
        if name in self._histograms:
            return self._histograms[name].lines(name)
        found = sorted((code, value) for (counter, code), value in self._counts.items() if counter == name)
        return [f'{name}{{code="{code}"}} {value}' if code else f"{name} {value}" for code, value in found]


class _Histogram:
    def __init__(self, bounds: tuple[float, ...]):
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._buckets[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        total, lines = 0, []
        for limit, count in zip((*self._bounds, "+Inf"), self._buckets, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{limit}"}} {total}')
        return [*lines, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


def resident_bytes() -> int:
    """Memory of this process: now where the system tells, else its highest so far."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return pages * resource.getpagesize()
