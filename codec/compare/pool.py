"""Runs through worker processes, a few at a time."""

import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from codec.compare.config import CompareConfig
from codec.compare.plan import Trial
from codec.compare.worker import work, write_order
from codec.errors import CodecError

_POLL_SECONDS = 0.1
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Ended:
    """The end of a run: ``problem`` is one line, or ``None`` when it was trained and scored."""

    run: Trial
    problem: str | None


def run_all(
    config: CompareConfig, runs: Sequence[Trial], started: Callable[[Trial], None], ended: Callable[[Ended], None]
) -> None:
    """Train and score every run; one that fails does not stop the others.

    When this process ends, by Ctrl-C or otherwise, the workers save and end as well.

    Args:
        config: of the comparison.
        runs: in the order in which they are started.
        started: called before each run.
        ended: called after each run.
    """
    if config.jobs == 0:
        for run in runs:
            started(run)
            ended(Ended(run, _work_here(config, run)))
        return
    waiting, active = deque(runs), []
    try:
        while waiting or active:
            while waiting and len(active) < config.jobs:
                run = waiting.popleft()
                started(run)
                active.append(_Worker(config, run))
            time.sleep(_POLL_SECONDS)
            for worker in [worker for worker in active if worker.process.poll() is not None]:
                active.remove(worker)
                ended(Ended(worker.run, worker.close()))
    finally:
        for worker in active:
            worker.process.stdin.close()
        for worker in active:
            worker.process.wait()
            worker.close()


def _work_here(config: CompareConfig, run: Trial) -> str | None:
    try:
        if not work(run, config.scoring, Path(config.output)):
            # The signal was for the whole comparison.
            raise KeyboardInterrupt
    except CodecError as error:
        return str(error)
    return None


class _Worker:
    """The process of one run; its output is appended to ``output.txt`` in the run's folder."""

    def __init__(self, config: CompareConfig, run: Trial):
        self.run = run
        order = write_order(run, config.scoring, Path(config.output))
        self._log: IO[bytes] = (run.folder / "output.txt").open("ab")
        command = [sys.executable, "-m", "codec.compare.worker", str(order)]
        # Thread pools read these when they are loaded. In a separate session, a Ctrl-C reaches the
        # parent alone, which passes it on once: a second signal would end training without saving.
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **dict.fromkeys(_THREADS, str(config.threads))},
            start_new_session=True,
        )

    def close(self) -> str | None:
        """Close files of a process that has ended; one line about what went wrong, if anything did."""
        self.process.stdin.close()
        self._log.close()
        if self.process.returncode == 0:
            return None
        path = self.run.folder / "output.txt"
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "no output").strip()
        return f"{last.removeprefix('error: ')} (status {self.process.returncode}; {path})"
