"""Tasks in other processes: one that hangs or kills its process costs only itself."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from codec.errors import CodecError

T = TypeVar("T")
R = TypeVar("R")

_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Lost:
    """What comes back in place of a result when the process of a task died or was ended."""

    reason: str


class Executor(Protocol):
    """Runs a function on many tasks. Another one than :class:`LocalExecutor` may use other machines."""

    def run(self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R | Lost], None]) -> None:
        """Run every task and hand over its result as it comes, whatever the order.

        Args:
            function: of a module, so that other processes find it; what it raises is raised here, and
                ends the run.
            tasks: started in this order. They and their results travel between processes.
            done: called in this process, once for each task, with its index.
        """


@dataclass(frozen=True)
class LocalExecutor:
    """Processes of this machine, started anew rather than forked; Ctrl-C ends them all.

    Attributes:
        workers: processes; 0 runs in this process, where nothing can be timed out.
        timeout: seconds after which a task's process is ended; ``None`` waits for ever.
        threads: of each process.
    """

    workers: int
    timeout: float | None = None
    threads: int = 1

    def run(self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R | Lost], None]) -> None:
        """See :class:`Executor`.

        Raises:
            CodecError: without the package pebble.
        """
        if self.workers == 0:
            for index, task in enumerate(tasks):
                done(index, function(task))
        elif tasks:
            self._run_pool(function, tasks, done)

    def _run_pool(self, function: Callable[[Any], Any], tasks: Sequence[Any], done: Callable[[int, Any], None]) -> None:
        from concurrent.futures import as_completed

        with thread_limit(self.threads), _pool(min(self.workers, len(tasks)), self.threads) as pool:
            futures = {pool.schedule(function, (task,), timeout=self.timeout): i for i, task in enumerate(tasks)}
            for future in as_completed(futures):
                done(futures.pop(future), self._result(future))

    def _result(self, future: Any) -> Any:
        from concurrent.futures import BrokenExecutor

        from pebble import ProcessExpired

        error = future.exception()
        # A worker that dies before it has taken its task breaks the pool for all that are left.
        if isinstance(error, (ProcessExpired, BrokenExecutor)):
            return Lost("crashed: the worker process died")
        # A task may time out by itself, in a download say; that one carries its process's traceback.
        if isinstance(error, TimeoutError) and error.__cause__ is None and self.timeout is not None:
            return Lost(f"not done after {self.timeout:g} s, so its process was ended")
        return future.result()


@contextmanager
def _pool(workers: int, threads: int) -> Iterator[Any]:
    import multiprocessing

    try:
        from pebble import ProcessPool
    except ImportError:
        raise CodecError("worker processes need the package pebble; pip install pebble") from None
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(workers, initializer=_begin, initargs=(threads,), context=context)
    try:
        yield pool
        pool.close()
    except BaseException:
        pool.stop()
        raise
    finally:
        pool.join()


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Children that are started within have so many threads: the libraries read this when they are loaded."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, str(threads)))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _begin(threads: int) -> None:
    """What a worker process does first."""
    import logging
    import warnings

    import torch

    torch.set_num_threads(threads)
    # Libraries' own chatter would drown the progress bar; what matters comes back as a result.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
