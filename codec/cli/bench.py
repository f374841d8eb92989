"""``codec bench``: speed, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from codec.bench.types import BenchConfig
from codec.cli import options

Names = Annotated[
    list[str] | None,
    typer.Argument(
        help="offline, stream, clients, floor (these by default), profile, throughput, slots, agreement."
    ),
]
Peers = Annotated[str, typer.Option(help="Comma-separated: encodec, mimi, dac, dm-codec; '' for none.")]
Threads = Annotated[int, typer.Option(min=1)]
Seconds = Annotated[float, typer.Option(help="Of the clip that goes through at once.")]
Repeats = Annotated[int, typer.Option(min=1, help="Rounds in which every system has its turn.")]
Minutes = Annotated[float, typer.Option(help="Of sound in the stream of one signal.")]
Clients = Annotated[int, typer.Option(min=1, help="Live signals at a time.")]
LiveSeconds = Annotated[float, typer.Option(help="How long they are served, by the clock.")]
Batches = Annotated[str, typer.Option("--batch-seconds", help="Sound of a batch, comma-separated.")]
SlotCounts = Annotated[str, typer.Option("--slots", help="Signals in lockstep, comma-separated.")]
Frames = Annotated[int, typer.Option(min=1, help="Steps of such signals.")]
Clips = Annotated[int, typer.Option(min=1, help="Variants of the bundled clip whose codes are compared.")]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the results.")]

_DEFAULTS = BenchConfig()
_PEERS = ",".join(_DEFAULTS.peers)
_BATCHES = ",".join(f"{amount:g}" for amount in _DEFAULTS.batch_seconds)
_SLOTS = ",".join(map(str, _DEFAULTS.slots))


def bench(
    names: Names = None,
    model: options.Model = _DEFAULTS.model,
    engine: options.Engine = _DEFAULTS.engine,
    device: options.Device = _DEFAULTS.device,
    peers: Peers = _PEERS,
    threads: Threads = _DEFAULTS.threads,
    seconds: Seconds = _DEFAULTS.seconds,
    repeats: Repeats = _DEFAULTS.repeats,
    minutes: Minutes = _DEFAULTS.minutes,
    clients: Clients = _DEFAULTS.clients,
    live_seconds: LiveSeconds = _DEFAULTS.live_seconds,
    batch_seconds: Batches = _BATCHES,
    slots: SlotCounts = _SLOTS,
    frames: Frames = _DEFAULTS.frames,
    clips: Clips = _DEFAULTS.clips,
    out: Out = None,
) -> None:
    """Measure speed against other codecs, in one run on this machine (docs/performance.md)."""
    import torch
    from rich.console import Console

    import codec.bench  # noqa: F401  (the benchmarks register themselves)
    from codec.bench.registry import find_benchmark
    from codec.bench.report import machine, print_table, write_report
    from codec.model.files import pick_device

    config = BenchConfig(
        model, engine, pick_device(device).type, threads, tuple(filter(None, peers.split(","))), seconds,
        repeats, minutes, clients, live_seconds, _numbers("batch-seconds", batch_seconds, float),
        _numbers("slots", slots, int), frames, clips,
    )  # fmt: skip
    chosen = {name: find_benchmark(name) for name in names or ["offline", "stream", "clients", "floor"]}
    torch.set_num_threads(threads)
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), highlight=False)
    tables = {}
    for name, run in chosen.items():
        tables[name] = run(config)
        print_table(tables[name], console)
        if out is not None:
            write_report(out, config, tables)


def _numbers(option: str, text: str, kind: type) -> tuple:
    from codec.errors import CodecError

    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError:
        raise CodecError(f"--{option} {text}: expected numbers with commas between") from None
