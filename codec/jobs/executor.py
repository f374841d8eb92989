"""Tasks in other processes: one that hangs or kills its process costs only itself."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypeVar

from codec.errors import CodecError

T = TypeVar("T")
R = TypeVar("R")

_POLL_SECONDS = 0.1
"""Between looks for tasks that have begun."""
_THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


@dataclass(frozen=True)
class Lost:
    """Returned in place of a result when the process of a task died or was ended."""

    reason: str


class Executor(Protocol):
    """Runs a function on many tasks. Another one than :class:`LocalExecutor` may use other machines."""

    def run(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        done: Callable[[int, R | Lost], None],
        started: Callable[[int], None] | None = None,
    ) -> None:
        """Run every task and hand over its result as it comes, whatever the order.

        Args:
            function: of a module, so that other processes find it; what it raises is raised here, and
                ends the run.
            tasks: started in this order. They and their results travel between processes.
            done: called in this process, once for each task, with its index.
            started: called before, when its work begins or shortly after.
        """


@dataclass(frozen=True)
class LocalExecutor:
    """Processes of this machine, spawned rather than forked.

    When this process is interrupted or ends, however it ends, tasks that run get SIGTERM, which ends them as an
    error would unless they have a handler of their own. The processes have a session of their own, so that a
    Ctrl-C at the terminal does not reach them as well.

    Attributes:
        workers: processes; 0 runs in this process, where nothing can be timed out.
        timeout: seconds after which a task's process is ended; ``None`` waits without limit.
        threads: of each process.
        fresh: whether every task has a process that has done nothing before.
        grace: seconds that tasks have to save their state after an interrupt; ``None``: all they need.
    """

    workers: int
    timeout: float | None = None
    threads: int = 1
    fresh: bool = False
    grace: float | None = 0.0

    def run(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        done: Callable[[int, R | Lost], None],
        started: Callable[[int], None] | None = None,
    ) -> None:
        """See :class:`Executor`.

        Raises:
            CodecError: without the package pebble.
        """
        begun = started or _ignore
        if self.workers == 0:
            for index, task in enumerate(tasks):
                begun(index)
                done(index, function(task))
        elif tasks:
            with thread_limit(self.threads):
                self._run_pool(function, tasks, done, begun)

    def _run_pool(
        self,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        done: Callable[[int, Any], None],
        started: Callable[[int], None],
    ) -> None:
        from concurrent.futures import FIRST_COMPLETED, wait

        waiting: dict[Any, int] = {}
        with self._pool(min(self.workers, len(tasks)), waiting) as pool:
            for index, task in enumerate(tasks):
                waiting[pool.schedule(_perform, (function, task), timeout=self.timeout)] = index
            new = set(waiting)
            while waiting:
                finished, _ = wait(waiting, timeout=_POLL_SECONDS if new else None, return_when=FIRST_COMPLETED)
                for future in sorted((f for f in new if f.running() or f.done()), key=waiting.__getitem__):
                    new.remove(future)
                    started(waiting[future])
                for future in finished:
                    done(waiting.pop(future), self._result(future))

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
    def _pool(self, workers: int, waiting: dict[Any, int]) -> Iterator[Any]:
        import multiprocessing
        from concurrent.futures import wait

        try:
            from pebble import ProcessPool
        except ImportError:
            raise CodecError("worker processes need the package pebble; pip install pebble") from None
        context = multiprocessing.get_context("spawn")
        # Nothing is ever sent: workers see that the other end is closed, by us or by our end.
        lifeline, ours = context.Pipe(duplex=False)
        begin = (self.threads, lifeline)
        pool = ProcessPool(workers, int(self.fresh), initializer=_begin, initargs=begin, context=context)
        try:
            yield pool
            pool.close()
        except BaseException:
            try:
                ours.close()
                wait([future for future in waiting if future.running()], timeout=self.grace)
            finally:
                pool.stop()
            raise
        finally:
            pool.join()
            ours.close()
            lifeline.close()


def _ignore(index: int) -> None:
    """For callers who do not ask when tasks begin."""


@contextmanager
def thread_limit(threads: int) -> Iterator[None]:
    """Set the thread count of children started within: libraries read it when they are loaded."""
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


class _Worker:
    """What a worker process knows of itself."""

    lock = threading.Lock()
    busy = False
    stopped = False


def _begin(threads: int, lifeline: Connection) -> None:
    import logging
    import warnings

    import torch

    if hasattr(os, "setsid"):
        os.setsid()
    signal.signal(signal.SIGTERM, _unwind)
    threading.Thread(target=_end_with_parent, args=(lifeline,), daemon=True).start()
    torch.set_num_threads(threads)
    # Libraries' own chatter would drown the progress bar; what matters comes back as a result.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)


def _end_with_parent(lifeline: Connection) -> None:
    """Wait until the parent closes its end or ends; then ask the task that runs to end, and begin no other."""
    parent = os.getppid()
    with suppress(EOFError, OSError):
        lifeline.recv_bytes()
    with _Worker.lock:
        _Worker.stopped = True
        if _Worker.busy:
            os.kill(os.getpid(), signal.SIGTERM)
        elif os.getppid() != parent:
            os._exit(0)


def _unwind(number: int, _frame: object) -> None:
    """End the task as an error would, so that temporary files are removed and processes of its own ended."""
    signal.signal(number, signal.SIG_IGN)
    if not _Worker.busy:
        # Between tasks, or while Python shuts down, where an error would be printed into the task's output.
        os._exit(128 + number)
    raise SystemExit(128 + number)


def _perform(function: Callable[[Any], Any], task: Any) -> Any:
    with _Worker.lock:
        if _Worker.stopped:
            return Lost("not begun, since the run was ended")
        _Worker.busy = True
    try:
        return function(task)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        with _Worker.lock:
            _Worker.busy = False
