"""``codec bench``: speed compared with other codecs."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from codec.bench.types import BenchConfig
from codec.cli.dataclass_options import flag, options_of

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAMES",
        help="offline, stream, clients, floor (these by default), clips, profile, throughput, slots, agreement, "
        "originals, corpus, corpus-memory, corpus-ray, corpus-device.",
    ),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="JSON file for the results.")]

_FLAGS = {"model": flag("--model", "-m"), "baselines": flag("--baselines", earlier="--peers")} | {
    name: flag(min=1) for name in ("threads", "repeats", "clients", "frames", "clips")
}


@options_of(BenchConfig, _FLAGS, ["names", *(field.name for field in dataclasses.fields(BenchConfig))])
def bench(config: BenchConfig, names: Names = None, out: Out = None) -> None:
    """Measure speed against other codecs, in one run on this machine (docs/performance.md)."""
    import torch
    from rich.console import Console

    import codec.importing.benchmark  # noqa: F401  (it registers itself)
    from codec.bench.registry import find_benchmark
    from codec.bench.report import machine, print_table, write_report
    from codec.model.files import pick_device

    config = dataclasses.replace(config, device=pick_device(config.device).type)
    chosen = {name: find_benchmark(name) for name in names or ["offline", "stream", "clients", "floor"]}
    torch.set_num_threads(config.threads)
    console = Console()
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), highlight=False)
    tables = {}
    for name, run in chosen.items():
        tables[name] = run(config)
        print_table(tables[name], console)
        if out is not None:
            write_report(out, config, tables)
