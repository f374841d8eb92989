"""Doing the jobs: one with a summary, many with a progress bar and a list of what failed."""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import typer

from codec.atomic import atomic_file, named_errors, reason
from codec.cli.jobs import Existing, FileJob, FilePlan
from codec.cli.pipes import STANDARD_OUTPUT, silence_output, standard_input, standard_output
from codec.console import counted, print_error, print_note
from codec.errors import CodecError
from codec.progress import ProgressBar


@dataclass(frozen=True)
class Done:
    """The messages of a finished job.

    Attributes:
        summary: its result.
        note: how the input was converted; for many files only the count is printed.
        warnings: problems of the input, printed for every file.
    """

    summary: str
    note: str | None = None
    warnings: tuple[str, ...] = ()


@dataclass
class _Tally:
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    converted: int = 0
    skipped: int = 0


def run_plan(plan: FilePlan, work: Callable[[FileJob], Done], existing: Existing) -> None:
    """Do every job; with many, continue after those that fail.

    Raises:
        CodecError: from the only job.
        typer.Exit: with status 1 when some of many jobs failed, or something may not be read.
    """
    if plan.many:
        _run_many(plan, work, existing)
        return
    job = plan.jobs[0]
    if _is_finished(job, existing):
        print_note(f"{job.target}: exists already, skipped")
        return
    done = work(job)
    for words in [*done.warnings, *([done.note] if done.note else [])]:
        print_note(f"note: {words}")
    print_note(done.summary)


def _run_many(plan: FilePlan, work: Callable[[FileJob], Done], existing: Existing) -> None:
    jobs, tally = plan.jobs, _Tally()
    refused = not (existing.overwrite or existing.skip) and sum(map(_is_there, jobs))
    with ProgressBar("files", len(jobs)) as bar:
        for job in jobs:
            if _is_finished(job, existing):
                tally.skipped += 1
            else:
                _run_one(job, work, tally)
            bar.advance()
    for words in [*plan.notes, *tally.warnings]:
        print_note(f"note: {words}")
    if tally.converted:
        print_note(f"note: {tally.converted} of {len(jobs)} files were resampled or mixed down")
    skipped = f", {tally.skipped} were there already" if tally.skipped else ""
    print_note(f"{len(jobs) - len(tally.failures) - tally.skipped} of {len(jobs)} files done{skipped}")
    for failure in [*plan.unreadable, *tally.failures]:
        print_error(failure)
    if refused:
        print_note(f"note: {counted(refused, 'output')} existed before; --skip-existing leaves them and makes the rest")
    if tally.failures or plan.unreadable:
        raise typer.Exit(1)


def _run_one(job: FileJob, work: Callable[[FileJob], Done], tally: _Tally) -> None:
    """One of many: whatever goes wrong with it, the others are still done."""
    assert job.target is not None
    try:
        _make_folder(job.target.parent)
        done = work(job)
    except CodecError as error:
        text = str(error)
        is_named = job.name in text or str(job.target) in text or str(job.target.parent) in text
        tally.failures.append(text if is_named else f"{job.name}: {text}")
    except OSError as error:
        tally.failures.append(f"{job.name}: {reason(error)}")
    except Exception as error:  # noqa: BLE001 (what libraries raise is anything)
        tally.failures.append(f"{job.name}: {type(error).__name__}: {error}")
    else:
        tally.converted += done.note is not None
        tally.warnings += done.warnings


def _is_finished(job: FileJob, existing: Existing) -> bool:
    return existing.skip and _is_there(job)


def _is_there(job: FileJob) -> bool:
    return job.target is not None and os.path.lexists(job.target)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CodecError(f"{folder}: cannot be made ({reason(error)}); choose another folder") from None


def open_input(job: FileJob) -> Path | BinaryIO:
    """The job's path, or standard input."""
    return job.source or standard_input()


@contextmanager
def open_output(job: FileJob, overwrite: bool) -> Iterator[BinaryIO]:
    """A file that becomes the target, or a buffer that goes to standard output.

    Either way nothing comes out of a job that fails.
    """
    if job.target:
        with atomic_file(job.target, overwrite) as file:
            yield file
        return
    output = standard_output()
    buffer = io.BytesIO()
    yield buffer
    try:
        with named_errors(STANDARD_OUTPUT):
            output.write(buffer.getbuffer())
            output.flush()
    except (CodecError, BrokenPipeError):
        silence_output()
        raise
