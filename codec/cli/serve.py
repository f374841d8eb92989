"""``codec serve``: a WebSocket server and its page."""

from typing import Annotated

import typer

from codec.cli import options
from codec.cli.dataclass_options import flag, options_of
from codec.console import print_note
from codec.serve.config import ServeConfig

Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the computation, on the CPU.")]

_FLAGS = {
    "port": flag("--port", "-p"),
    "token": flag("--token", envvar="CODEC_SERVE_TOKEN"),
    "origins": flag("--origin", repeated=True),
    "max_message_bytes": flag("--max-message"),
    "idle_seconds": flag("--idle"),
    "stall_seconds": flag("--stall"),
}
_ORDER = (
    *("host", "port", "model", "device", "engine", "token", "origins", "max_clients"),
    *("max_clients_per_address", "max_message_bytes", "max_speed", "idle_seconds", "stall_seconds"),
    *("threads", "deterministic"),
)


@options_of(ServeConfig, _FLAGS, _ORDER)
def serve(
    config: ServeConfig,
    model: options.Model = "default",
    device: Device = "cpu",
    engine: options.Engine = "auto",
    threads: Threads = 1,
) -> None:
    """Serve live tokens to many clients over WebSockets, with a page to try it (docs/serving.md)."""
    import asyncio

    import torch

    from codec.model.files import load_model
    from codec.serve.server import run_server

    torch.set_num_threads(threads)
    loaded = load_model(model, device, engine)
    if not config.is_loopback:
        advice = "" if config.token else "; anyone there can use it, unless you give a --token"
        print_note(f"note: other machines can reach {config.host}{advice}")
    asyncio.run(run_server(loaded, config, print_note))
