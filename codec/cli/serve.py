"""``codec serve``: a WebSocket server and its page."""

from typing import Annotated

import typer

from codec.cli import options
from codec.cli.console import print_note

Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")]
Port = Annotated[int, typer.Option("--port", "-p", help="0 takes any free port.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="CODEC_SERVE_TOKEN", help="Clients have to show it; better in the environment."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--origin", help="Other origin whose pages may connect; may be repeated."),
]
MaxClients = Annotated[int, typer.Option(help="Clients at a time.")]
PerAddress = Annotated[int | None, typer.Option(help="Clients at a time from one address.")]
MaxMessage = Annotated[int, typer.Option("--max-message", help="Bytes of a client's message.")]
MaxSpeed = Annotated[float, typer.Option(help="Times real time at which a client's sound is taken.")]
Idle = Annotated[float, typer.Option("--idle", help="Seconds after which a silent client is closed.")]
Stall = Annotated[float, typer.Option("--stall", help="Seconds after which a client that does not read is.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Threads = Annotated[int, typer.Option(min=1, help="Of the computation, on the CPU.")]
Deterministic = Annotated[
    bool, typer.Option("--deterministic", help="Fixed shapes: codes equal to the last bit, slower.")
]


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8765,
    model: options.Model = "default",
    device: Device = "cpu",
    engine: options.Engine = "auto",
    token: Token = None,
    origin: Origins = None,
    max_clients: MaxClients = 16,
    max_clients_per_address: PerAddress = None,
    max_message: MaxMessage = 65_536,
    max_speed: MaxSpeed = 4.0,
    idle: Idle = 60.0,
    stall: Stall = 5.0,
    threads: Threads = 1,
    deterministic: Deterministic = False,
) -> None:
    """Live tokens for many clients over WebSockets, with a page to try it (docs/serving.md)."""
    import asyncio

    import torch

    from codec.model.files import load_model
    from codec.serve.config import ServeConfig
    from codec.serve.server import run_server

    config = ServeConfig(
        host=host,
        port=port,
        token=token,
        origins=tuple(origin or ()),
        max_clients=max_clients,
        max_clients_per_address=max_clients_per_address,
        max_message_bytes=max_message,
        max_speed=max_speed,
        idle_seconds=idle,
        stall_seconds=stall,
        deterministic=deterministic,
    )
    torch.set_num_threads(threads)
    loaded = load_model(model, device, engine)
    if not config.is_loopback:
        advice = "" if token else "; anyone there can use it, unless you give a --token"
        print_note(f"note: other machines can reach {host}{advice}")
    asyncio.run(run_server(loaded, config, print_note))
