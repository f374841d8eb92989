"""Settings of the server."""

import ipaddress
from dataclasses import dataclass

from codec.errors import CodecError


@dataclass(frozen=True)
class ServeConfig:
    """Address of the server, access to it, and limits of each client."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 accepts other machines."""
    port: int = 8765
    """0 takes any free port."""
    token: str | None = None
    """Secret that clients have to send; safer in the environment."""
    origins: tuple[str, ...] = ()
    """Other origin whose pages may connect, as https://example.org; may be repeated."""
    max_clients: int = 16
    """Clients at a time; also the slots of the streams, and so the memory of their states."""
    max_clients_per_address: int | None = None
    """Clients at a time from one address."""
    max_message_bytes: int = 65_536
    """Refuse a larger message of a client when its length is read, before its content."""
    max_speed: float = 4.0
    """Times real time at which a client's audio is taken; the rest waits on the client's side."""
    idle_seconds: float = 60.0
    """Disconnect a client that has sent nothing for this many seconds."""
    stall_seconds: float = 5.0
    """Disconnect a client that has not read for this many seconds."""
    start_seconds: float = 5.0
    """Disconnect a client that has sent no start message after this many seconds."""
    max_messages_per_second: int = 500
    """Disconnect a client that sends more messages a second."""
    frames_per_tick: int = 4
    """Frames of one client in a step of the model, at most; a step takes fewer when another client has
    fewer."""
    input_seconds: float = 2.0
    """Seconds of one client's audio that may wait; then its socket is not read any more."""
    output_messages: int = 64
    """Messages that may wait for one client; then its audio is not taken any more."""
    late_milliseconds: float = 20.0
    """Count codes that leave later than this after their frame was due as late."""
    hung_seconds: float = 10.0
    """Report on /healthz a step that takes longer, or frames that wait longer for one."""
    deterministic: bool = False
    """Fixed shapes: codes equal to the last bit, slower."""

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
        if self.token is not None and not _is_text(self.token):
            raise CodecError("the token has bytes that are no text in UTF-8; give another")
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


def _is_text(value: str) -> bool:
    """Whether it can be sent; the environment may have bytes of any kind."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
