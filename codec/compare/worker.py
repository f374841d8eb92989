"""One run in whatever process an executor gives it: train what is left of it, then score it."""

import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.compare.config import ScoringConfig
from codec.compare.plan import Trial
from codec.compare.score import score_run
from codec.errors import CodecError
from codec.jsonl import append_lines
from codec.train.trainer import Trainer

STOPPED = "stopped after its state was saved; the same command resumes it"
"""The problem of a run that a signal ended."""


@dataclass(frozen=True)
class Order:
    """What a worker does.

    Attributes:
        run: to train and score.
        scoring: how.
        shared: folder for what all runs may use.
        output: file that all that the run prints is appended to; ``None`` leaves it on the terminal.
    """

    run: Trial
    scoring: ScoringConfig
    shared: Path
    output: Path | None = None


def perform(order: Order) -> str | None:
    """Do what an order says; ``None``, or in one line what went wrong. Another run may still go well."""
    with nullcontext() if order.output is None else _printing_to(order.output):
        try:
            return None if work(order.run, order.scoring, order.shared) else STOPPED
        except CodecError as error:
            problem = str(error)
            print(f"error: {problem}", file=sys.stderr)
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            problem = " ".join(f"{type(error).__name__}: {error}".split())
    return problem if order.output is None else f"{problem} ({order.output})"


def work(run: Trial, scoring: ScoringConfig, shared: Path) -> bool:
    """Train and score; false when a signal ended the training, which has then been saved."""
    begun = time.perf_counter()
    if not run.trained:
        first = run.step or 0
        result = Trainer(run.config).run()
        _keep_time(run, "training", begun, steps=result.step - first)
        if result.signal is not None:
            return False
    begun = time.perf_counter()
    score_run(run, scoring, shared)
    _keep_time(run, "scoring", begun)
    return True


def _keep_time(run: Trial, part: str, begun: float, **facts: Any) -> None:
    record = {"part": part, "seconds": round(time.perf_counter() - begun, 1), **facts}
    append_lines(run.folder / "times.jsonl", [json.dumps(record)])


@contextmanager
def _printing_to(path: Path) -> Iterator[None]:
    """Append all that this process prints, libraries in C included, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    before = os.dup(1), os.dup(2)
    with path.open("ab") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, kept in zip((1, 2), before, strict=True):
            os.dup2(kept, number)
            os.close(kept)
