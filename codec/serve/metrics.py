"""The server's metrics in the text format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

# The version that every Prometheus reads; the library's newest one differs in names of other alphabets.
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
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
        own = {"namespace": "codec_serve", "registry": self.registry}
        seconds, frames = own | {"buckets": _SECONDS}, own | {"buckets": _FRAMES}
        # A counter's name gets the suffix _total.
        self.connections = Counter("connections", "WebSocket connections opened.", **own)
        self.closed = Counter("closed", "Connections closed by the server for a fault.", ["code"], **own)
        self.frames_encoded = Counter("frames_encoded", "Frames of codes sent to clients.", **own)
        self.frames_decoded = Counter("frames_decoded", "Frames decoded to audio.", **own)
        self.late_frames = Counter("late_frames", "Frames sent later than the limit after completion.", **own)
        self.received_bytes = Counter("received_bytes", "Payload received from clients.", **own)
        self.sent_bytes = Counter("sent_bytes", "Payload sent to clients.", **own)
        self.frame_seconds = Histogram("frame_seconds", "From a complete frame to its codes sent.", **seconds)
        self.tick_seconds = Histogram("tick_seconds", "Computation of one step of the model.", **seconds)
        self.tick_frames = Histogram("tick_frames", "Frames of all clients in one step.", **frames)
        self.clients = Gauge("clients", "Clients with a stream.", **own)
        self.max_clients = Gauge("max_clients", "Clients with a stream, at most.", **own)
        self.max_clients.set(max_clients)
        ProcessCollector(registry=self.registry)

    def text(self) -> str:
        """Everything, one line per value."""
        return generate_latest(self.registry).decode()
