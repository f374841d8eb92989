"""The output of a run: a progress bar, ``log.jsonl``, and TensorBoard or W&B through accelerate."""

import json
import time
from pathlib import Path
from typing import Self, TextIO

import torch
from accelerate import Accelerator
from torch import Tensor

from codec.atomic import atomic_path
from codec.jsonl import read_lines
from codec.progress import ProgressBar


class Meter:
    """Averages scalars over steps; they stay on the device until requested."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def add(self, values: dict[str, Tensor]) -> None:
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """Averages since the last call, by tag."""
        if not self._sums:
            return {}
        sums = torch.stack([value.float() for value in self._sums.values()]).tolist()
        means = {name: sums[i] / self._counts[name] for i, name in enumerate(self._sums)}
        self._sums, self._counts = {}, {}
        return means


class RunLog:
    """Progress and curves of one run; only the main process writes anything."""

    def __init__(self, accelerator: Accelerator, output: Path, start: int, max_steps: int):
        self._accelerator, self._active = accelerator, accelerator.is_main_process
        self._bar = ProgressBar("training", max_steps, start, quiet=not self._active, terminal_only=True)
        self._console = self._bar.console
        self._file: TextIO | None = None
        if self._active:
            path = output / "log.jsonl"
            forget_after(path, start)
            self._file = path.open("a", encoding="utf-8")
        self._max_steps = max_steps

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.__exit__()
        if self._file is not None:
            self._file.close()

    def advance(self, step: int) -> None:
        """``step`` steps are done."""
        self._bar.set(step)

    def say(self, line: str) -> None:
        """A line above the bar."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Values after ``step`` steps, to every place."""
        if self._file is None:
            return
        self._accelerator.log(values, step=step)
        record = {"step": step, "time": round(time.time(), 1), **values}
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
        loss = next((name for name in ("total", *values) if name in values), None)
        line = "" if loss is None else f"{loss} {values[loss]:.3f}"
        if "hours_per_hour" in values:
            line += f"  {values['hours_per_hour']:.1f} h/h"
        self._bar.show(line)
        if not self._console.is_terminal:
            self.say(f"step {step}/{self._max_steps}  {line}")


def forget_after(path: Path, step: int) -> None:
    """Drop records past a step: a resumed run writes them again."""
    if not path.is_file():
        return
    kept = [line + b"\n" for line in read_lines(path) if _step_of(line) <= step]
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"".join(kept))


def _step_of(line: bytes) -> float:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        # No record of ours.
        return float("inf")
