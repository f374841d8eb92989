"""What ``codec serve`` may be told."""

import ipaddress
from dataclasses import dataclass

from codec.errors import CodecError


@dataclass(frozen=True)
class ServeConfig:
    """Where the server listens, who may come, and how much each client may take."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0 takes any free port."""
    token: str | None = None
    """Clients have to show it; anyone may come without."""
    origins: tuple[str, ...] = ()
    """Pages of other origins that may connect, as ``https://example.org``."""
    max_clients: int = 16
    """Also the slots of the streams, and so the memory of their states."""
    max_clients_per_address: int | None = None
    max_message_bytes: int = 65_536
    """A larger message is refused when its length is read, before its content."""
    max_messages_per_second: int = 500
    max_speed: float = 4.0
    """Times real time at which a client's sound is taken; the rest waits on the client's side."""
    frames_per_tick: int = 4
    """Of each client, where all have as many; a step takes fewer when one has fewer."""
    input_seconds: float = 2.0
    """Sound of one client that may wait; then its socket is not read any more."""
    output_messages: int = 64
    """Messages that may wait for one client; then its sound is not taken any more."""
    start_seconds: float = 5.0
    """Time for a client to say what it wants."""
    idle_seconds: float = 60.0
    """A client that sends nothing for so long is closed."""
    stall_seconds: float = 5.0
    """A client that does not read for so long is closed."""
    late_milliseconds: float = 20.0
    """Codes that leave later than this after their frame was complete are counted as late."""
    hung_seconds: float = 10.0
    """A step that takes longer, or frames that wait longer for one, are told by ``/healthz``."""
    deterministic: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise CodecError(f"port {self.port}; it must be 0 to 65535")
        counts = ("max_clients", "max_messages_per_second", "frames_per_tick", "output_messages")
        times = ("input_seconds", "start_seconds", "idle_seconds", "stall_seconds", "hung_seconds")
        for name in (*counts, *times, "late_milliseconds"):
            if not getattr(self, name) > 0:
                raise CodecError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.max_clients_per_address is not None and self.max_clients_per_address < 1:
            raise CodecError(
                f"max_clients_per_address is {self.max_clients_per_address}; it must be 1 or more"
            )
        if self.max_message_bytes < 1024:
            raise CodecError(f"max_message_bytes is {self.max_message_bytes}; it must be 1024 or more")
        if self.max_speed < 1:
            raise CodecError(f"max_speed is {self.max_speed}; below 1 no live client could keep up")
        if self.token is not None and not self.token:
            raise CodecError("the token is empty; give one with characters, or none")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
                raise CodecError(f"origin {origin!r}; expected scheme and host, as https://example.org")

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"
