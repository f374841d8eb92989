"""The server's metrics in the text format of Prometheus."""

from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

# The version that every Prometheus reads; the library's newest one differs in names of other alphabets.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_NAMESPACE = "codec_serve"
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_FRAMES = (0, 1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters and histograms of one server; the event loop and the model's thread both write them.

    Each server has its own registry, so that two in one process do not add up. Every name is
    described in docs/serving.md.

    Attributes:
        registry: the metrics below, and on Linux those of the process.
    """

    def __init__(self, max_clients: int):
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace=_NAMESPACE, registry=self.registry)
        histogram = partial(Histogram, namespace=_NAMESPACE, registry=self.registry)
        gauge = partial(Gauge, namespace=_NAMESPACE, registry=self.registry)
        # A counter's name gets the suffix _total.
        self.connections = counter("connections", "WebSocket connections opened.")
        self.closed = counter("closed", "Connections closed by the server for a fault.", ["code"])
        self.frames_encoded = counter("frames_encoded", "Frames of codes sent to clients.")
        self.frames_decoded = counter("frames_decoded", "Frames decoded to audio.")
        self.late_frames = counter("late_frames", "Frames sent later than the limit after completion.")
        self.received_bytes = counter("received_bytes", "Payload received from clients.")
        self.sent_bytes = counter("sent_bytes", "Payload sent to clients.")
        seconds, frames = partial(histogram, buckets=_SECONDS), partial(histogram, buckets=_FRAMES)
        self.frame_seconds = seconds("frame_seconds", "From a complete frame to its codes sent.")
        self.tick_seconds = seconds("tick_seconds", "Computation of one step of the model.")
        self.tick_frames = frames("tick_frames", "Frames of all clients in one step.")
        self.clients = gauge("clients", "Clients with a stream.")
        self.max_clients = gauge("max_clients", "Clients with a stream, at most.")
        self.max_clients.set(max_clients)
        ProcessCollector(registry=self.registry)

    def text(self) -> str:
        """Everything, one line per value."""
        return generate_latest(self.registry).decode()
