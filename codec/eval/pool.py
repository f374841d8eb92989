"""Jobs through worker processes; a job that kills its process, or hangs, costs only itself."""

from collections.abc import Callable
from dataclasses import replace

from codec.eval.job import CODING, Job, run_job
from codec.eval.options import TIMEOUT
from codec.eval.types import Row
from codec.jobs.executor import Executor, LocalExecutor, Lost


def run_jobs(
    jobs: list[Job],
    workers: int,
    done: Callable[[Job, list[Row]], None],
    timeout: float | None = TIMEOUT,
) -> None:
    """Run every job and hand over its rows as they come.

    Args:
        jobs: in the order in which they are started.
        workers: processes, one thread each; 0 runs in this process, without a time-out.
        done: called once for each job.
        timeout: seconds after which a job counts as hung.
    """
    executor = LocalExecutor(workers, timeout)
    lost: list[Job] = []

    def ended(index: int, rows: list[Row] | Lost) -> None:
        if isinstance(rows, Lost):
            lost.append(jobs[index])
        else:
            done(jobs[index], rows)

    executor.run(run_job, jobs, ended)
    _run_in_parts(lost, executor, done)


def _run_in_parts(jobs: list[Job], executor: Executor, done: Callable[[Job, list[Row]], None]) -> None:
    """Jobs that were lost: first their coding, then their measures one by one, to lose no more than need be."""
    rows: dict[int, list[Row]] = {index: [] for index in range(len(jobs))}
    coded = {index: job.coded for index, job in enumerate(jobs)}
    parts = [(i, replace(job, measures=())) for i, job in enumerate(jobs) if job.coded is None]
    for index, result in _run_parts(parts, executor):
        rows[index] += result
        coded[index] = next(row for row in result if row.measure == CODING)
    parts = [(i, replace(job, measures=(m,), coded=coded[i])) for i, job in enumerate(jobs) for m in job.measures]
    for index, result in _run_parts(parts, executor):
        rows[index] += result
    for index, job in enumerate(jobs):
        done(job, rows[index])


def _run_parts(parts: list[tuple[int, Job]], executor: Executor) -> list[tuple[int, list[Row]]]:
    """The rows of each part by index of the job, in order; a lost part is a row with the reason."""
    results: dict[int, list[Row]] = {}

    def ended(place: int, rows: list[Row] | Lost) -> None:
        results[place] = [_lost(parts[place][1], rows)] if isinstance(rows, Lost) else rows

    executor.run(run_job, [job for _, job in parts], ended)
    return [(index, results[place]) for place, (index, _) in enumerate(parts)]


def _lost(job: Job, lost: Lost) -> Row:
    name = job.measures[0].name if job.measures else CODING
    key = job.keys[name] if job.measures else job.coding_key
    return Row(key, job.system.label, job.clip.name, name, skipped=lost.reason)
