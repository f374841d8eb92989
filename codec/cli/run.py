"""Doing the jobs: one with a summary, many with a progress bar and a list of what failed."""

import io
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from codec.atomic import atomic_path, reason
from codec.cli.console import print_error, print_note, progress_console
from codec.cli.jobs import Job, Plan
from codec.errors import CodecError

_SPOOL_BYTES = 1 << 26


@dataclass(frozen=True)
class Done:
    """What a finished job has to say."""

    summary: str
    note: str | None = None


def run_plan(plan: Plan, work: Callable[[Job], Done]) -> None:
    """Do every job; with many, go on past those that fail.

    Raises:
        CodecError: from the only job.
        typer.Exit: with status 1 when some of many jobs failed.
    """
    if plan.many:
        _run_many(plan.jobs, work)
        return
    done = work(plan.jobs[0])
    if done.note:
        print_note(f"note: {done.note}")
    print_note(done.summary)


def _run_many(jobs: list[Job], work: Callable[[Job], Done]) -> None:
    failures, notes = [], 0
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress_console()) as progress:
        task = progress.add_task("files", total=len(jobs))
        for job in jobs:
            try:
                _make_folder(job.target.parent)
                notes += work(job).note is not None
            except CodecError as error:
                failures.append(str(error))
            except OSError as error:
                failures.append(f"{job.name}: {reason(error)}")
            progress.advance(task)
    if notes:
        print_note(f"note: {notes} of {len(jobs)} files were resampled or mixed down")
    print_note(f"{len(jobs) - len(failures)} of {len(jobs)} files done")
    for failure in failures:
        print_error(failure)
    if failures:
        raise typer.Exit(1)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({reason(error)}); choose another folder") from None


@contextmanager
def open_input(job: Job) -> Iterator[Path | BinaryIO]:
    """The job's path, or standard input as a file that can seek (on disk when it is large)."""
    if job.source:
        yield job.source
        return
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
        shutil.copyfileobj(sys.stdin.buffer, spool)
        spool.seek(0)
        yield spool


@contextmanager
def open_output(job: Job, overwrite: bool) -> Iterator[Path | BinaryIO]:
    """A temporary path that becomes the target, or a buffer that goes to standard output.

    Either way nothing comes out of a job that fails.
    """
    if job.target:
        with atomic_path(job.target, overwrite) as path:
            yield path
        return
    buffer = io.BytesIO()
    yield buffer
    sys.stdout.buffer.write(buffer.getbuffer())
    sys.stdout.buffer.flush()
