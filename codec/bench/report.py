"""Results on the terminal and as JSON."""

import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table as RichTable

from codec.atomic import atomic_path
from codec.bench.types import BenchConfig, Table


def print_table(table: Table, console: Console) -> None:
    """One benchmark's result."""
    shown = RichTable(*table.columns, title=table.title, title_justify="left")
    for row in table.rows:
        shown.add_row(*(_text(value) for value in row))
    console.print(shown)


def write_report(path: Path, config: BenchConfig, tables: dict[str, Table]) -> None:
    """Everything, with what it was measured on."""
    content = {
        "machine": machine(),
        "config": dataclasses.asdict(config),
        "results": {name: dataclasses.asdict(table) for name, table in tables.items()},
    }
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, Any]:
    """The facts about the machine on which the results depend."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.is_file() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if "model name" in line), platform.processor()
    )


def _text(value: str | float) -> str:
    if isinstance(value, str | int):
        return str(value)
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
