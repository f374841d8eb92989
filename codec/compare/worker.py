"""One run in a separate process: finish its training, then score it."""

import json
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from codec.atomic import atomic_path
from codec.compare.config import ScoringConfig
from codec.compare.plan import Trial
from codec.compare.score import score_run
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.train.config import TrainConfig
from codec.train.trainer import Trainer


@dataclass(frozen=True)
class Order:
    """The order for a worker, as JSON in the run's folder."""

    variant: str
    seed: int
    train: dict[str, Any]
    scoring: ScoringConfig
    shared: str
    """Folder for what all runs may use."""


def write_order(run: Trial, scoring: ScoringConfig, shared: Path) -> Path:
    """``order.json`` in the run's folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    path = run.folder / "order.json"
    order = Order(run.variant, run.seed, to_dict(run.config), scoring, str(shared))
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(to_dict(order), indent=1) + "\n", encoding="utf-8")
    return path


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
    with (run.folder / "times.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _end_with_parent() -> None:
    """The standard input is closed when the parent ends, however it ends: then save and leave."""

    def wait() -> None:
        # Not through sys.stdin, whose lock would be held when the interpreter shuts down.
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()


def main(path: str) -> int:
    """Execute an order.

    Returns:
        exit status: 0 when all is done, 1 after an error, 143 when it was asked to stop.
    """
    _end_with_parent()
    order = from_dict(Order, json.loads(Path(path).read_text(encoding="utf-8")))
    run = Trial(order.variant, order.seed, from_dict(TrainConfig, order.train))
    try:
        done = work(run, order.scoring, Path(order.shared))
    except CodecError as error:
        print(f"error: {error}", flush=True)
        return 1
    return 0 if done else 128 + signal.SIGTERM


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
