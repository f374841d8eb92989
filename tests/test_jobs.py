"""Worker processes: a task that hangs or dies costs only itself, and nothing is left behind."""

import multiprocessing
import os
import time

import pytest

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


def test_without_workers_and_without_tasks_no_process_starts(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert results_of(LocalExecutor(0), ["one", "two"]) == ["one 7", "two 7"]
    assert results_of(LocalExecutor(2), []) == []
