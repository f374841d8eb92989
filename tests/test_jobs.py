"""Worker processes: a task that hangs or dies costs only itself, and nothing is left behind."""

import atexit
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from codec.atomic import atomic_path
from codec.jobs.executor import LocalExecutor, Lost


def work(task: str) -> str:
    if task == "hangs":
        time.sleep(600)
    if task == "dies":
        os._exit(3)
    if task == "raises":
        raise ZeroDivisionError("by design")
    if task == "times out by itself":
        raise TimeoutError("no answer from the hub")
    return f"{task} {os.environ['OMP_NUM_THREADS']}"


def results_of(executor: LocalExecutor, tasks: list[str]) -> list:
    found = {}

    def done(index: int, result) -> None:
        assert index not in found
        found[index] = result

    executor.run(work, tasks, done)
    return [found[index] for index in range(len(tasks))]


def test_tasks_that_hang_or_die_are_told_one_by_one_and_the_others_are_done(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    tasks = ["one", "hangs", "dies", "two", "dies", "three"]
    results = results_of(LocalExecutor(2, timeout=20, threads=1), tasks)
    ended = Lost("not done after 20 s, so its process was ended")
    died = Lost("crashed: the worker process died")
    assert results == ["one 1", ended, died, "two 1", died, "three 1"]
    assert os.environ["OMP_NUM_THREADS"] == "7" and not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("task", "error"), [("raises", ZeroDivisionError), ("times out by itself", TimeoutError)]
)
def test_what_a_task_raises_ends_the_run(task, error, workers):
    with pytest.raises(error, match="by design|no answer"):
        results_of(LocalExecutor(workers, timeout=60), [task, *["hangs"] * workers])
    assert not multiprocessing.active_children()


def test_an_interrupt_ends_the_processes_that_still_work():
    def interrupt(index: int, result) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(2).run(work, ["one", "hangs", "hangs"], interrupt)
    assert not multiprocessing.active_children()


def write_and_hang(path: str) -> None:
    with atomic_path(path) as temporary:
        temporary.with_name("begun").touch()
        time.sleep(600)


def hang_below(path: str) -> None:
    """A task with a process of its own."""
    LocalExecutor(1).run(write_and_hang, [path], lambda index, result: None)


@pytest.mark.parametrize("task", [write_and_hang, hang_below])
def test_an_interrupt_unwinds_a_task_and_the_processes_of_its_own(tmp_path, task):
    def interrupt():
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        LocalExecutor(1, grace=None).run(task, [str(tmp_path / "file")], lambda index, result: None)
    thread.join()
    # Neither the file nor its temporary.
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def save_when_asked(path: str) -> str:
    """As training does: it takes the signal itself, and then its time."""
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    Path(path, "begun").touch()
    asked.wait(600)
    time.sleep(4)
    Path(path, "saved").touch()


def test_tasks_with_grace_save_their_state_however_long_it_takes(tmp_path):
    def interrupt(index):
        while not (tmp_path / "begun").exists():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        executor = LocalExecutor(1, grace=None, fresh=True)
        executor.run(save_when_asked, [str(tmp_path)] * 3, lambda index, result: None, started=interrupt)
    assert (tmp_path / "saved").exists()
    assert not multiprocessing.active_children()


def leave_slowly(path: str) -> None:
    with open(path, "w") as errors:
        os.dup2(errors.fileno(), 2)
    atexit.register(time.sleep, 600)


def test_a_worker_that_takes_long_to_leave_is_ended_without_a_word(tmp_path):
    found = []
    LocalExecutor(1, fresh=True).run(leave_slowly, [str(tmp_path / "errors")], lambda index, result: found.append(result))
    assert found == [None]
    assert (tmp_path / "errors").read_text() == ""


@pytest.mark.parametrize("workers", [0, 1])
def test_a_task_has_started_before_it_is_done(workers):
    events = []
    LocalExecutor(workers).run(
        work, ["one", "two"], lambda i, result: events.append(("done", i)), lambda i: events.append(("started", i))
    )
    for index in range(2):
        assert events.index(("started", index)) < events.index(("done", index))
    assert len(events) == 4


def process_of(task: str) -> int:
    return os.getpid()


@pytest.mark.parametrize(("fresh", "count"), [(False, 1), (True, 2)])
def test_fresh_processes_do_one_task_each(fresh, count):
    found = []
    LocalExecutor(1, fresh=fresh).run(process_of, ["one", "two"], lambda index, pid: found.append(pid))
    assert len(set(found)) == count


def test_without_workers_and_without_tasks_no_process_starts(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert results_of(LocalExecutor(0), ["one", "two"]) == ["one 7", "two 7"]
    assert results_of(LocalExecutor(2), []) == []
