"""Jobs through worker processes; a job that kills its process costs only itself."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Self

from codec.eval.job import CODING, Job, run_job
from codec.eval.types import Row

_DIED = "crashed: the worker process died"
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def run_jobs(jobs: list[Job], workers: int, done: Callable[[Job, list[Row]], None]) -> None:
    """Run every job and hand over its rows as they come.

    Args:
        jobs: in the order in which they are started.
        workers: processes, one thread each; 0 runs in this process.
        done: called once for each job.
    """
    if workers == 0:
        for job in jobs:
            done(job, run_job(job))
        return
    left = list(jobs)
    while left:
        left = _run_pool(left, workers, done)
        # The pool died. Jobs start in order, so the culprit is among the first that are left: those
        # that ran and those that lay in the pool's queue (one more than there are workers).
        suspects, left = left[: 2 * workers + 1], left[2 * workers + 1 :]
        with _LoneWorker() as lone:
            for job in suspects:
                done(job, lone.run(job))


def _run_pool(jobs: list[Job], workers: int, done: Callable[[Job, list[Row]], None]) -> list[Job]:
    """Jobs that were not finished because the pool broke; usually none."""
    finished = set()
    with _pool(min(workers, len(jobs))) as pool:
        futures: dict[Future, int] = {}
        try:
            for index, job in enumerate(jobs):
                futures[pool.submit(run_job, job)] = index
            for future in as_completed(futures):
                rows = future.result()
                finished.add(futures[future])
                done(jobs[futures[future]], rows)
        except BrokenProcessPool:
            for future, index in futures.items():
                if index not in finished and future.done() and future.exception() is None:
                    finished.add(index)
                    done(jobs[index], future.result())
            return [job for index, job in enumerate(jobs) if index not in finished]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return []


class _LoneWorker:
    """One process at a time for jobs that may kill it; a new one after each death."""

    def __init__(self) -> None:
        self._exit = ExitStack()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def run(self, job: Job) -> list[Row]:
        """Rows of a job; when its process dies, those of its measures one by one."""
        rows = self._try(job)
        if rows is not None:
            return rows
        if not job.measures:
            return [_died(job)]
        rows, coded = [], job.coded
        for measures in ((), *((measure,) for measure in job.measures)):
            if measures or coded is None:
                part = replace(job, measures=measures, coded=coded)
                result = self._try(part) or [_died(part)]
                coded = coded or next(row for row in result if row.measure == CODING)
                rows += result
        return rows

    def _try(self, job: Job) -> list[Row] | None:
        """The job's rows, or nothing when its process died."""
        if self._pool is None:
            self._pool = self._exit.enter_context(_pool(1))
        try:
            return self._pool.submit(run_job, job).result()
        except BrokenProcessPool:
            self._pool = None
            return None


def _died(job: Job) -> Row:
    name = job.measures[0].name if job.measures else CODING
    key = job.keys[name] if job.measures else job.coding_key
    return Row(key, job.system.label, job.clip.name, name, skipped=_DIED)


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Thread pools read these when they are loaded, so the children must be born with them.
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
            yield pool
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _one_thread() -> None:
    import logging
    import warnings

    import torch

    torch.set_num_threads(1)
    # Judges' own chatter would drown the progress bar; what matters comes back in rows.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
