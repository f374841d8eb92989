"""Corpora on a real Ray cluster of this machine: the files are those of local runs, also when workers die."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from corpora_tools import files_of, make_corpus, write_clips
from ray_work import dying_shard, work

from codec import CodecError
from codec.jobs.executor import Lost

ray = pytest.importorskip("ray")

from codec.jobs.ray import ATTEMPTS, RayExecutor, _connect, _Pool


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(
        num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=80 << 20,
        runtime_env={"env_vars": {"PYTHONPATH": f"{Path(__file__).parent}:{Path(__file__).parents[1]}"}},
    )  # fmt: skip
    yield
    ray.shutdown()


def results_of(executor, tasks) -> list:
    found = {}

    def done(index, result):
        assert index not in found
        found[index] = result

    executor.run(work, tasks, done)
    return [found[index] for index in range(len(tasks))]


def test_the_engines_write_the_same_files_though_a_worker_is_killed_in_the_middle_of_a_shard(
    tiny_model_dir, tmp_path, monkeypatch
):
    write_clips(tmp_path / "clips")
    options = {"shard_clips": 2}
    local = make_corpus(tmp_path / "local", tiny_model_dir, tmp_path / "clips", **options)
    monkeypatch.setattr("codec.corpora.run.run_shard", partial(dying_shard, str(tmp_path / "mark")))
    on_ray = make_corpus(tmp_path / "ray", tiny_model_dir, tmp_path / "clips", engine="ray", workers=2, **options)
    assert (tmp_path / "mark").exists(), "nobody was killed, so the test shows nothing"
    assert files_of(on_ray) == files_of(local)


def test_a_task_that_kills_every_worker_is_given_up_and_the_others_are_done():
    results = results_of(RayExecutor(1), [("works", ""), ("dies", ""), ("works", "")])
    assert results[1] == Lost(f"crashed: the worker died {ATTEMPTS} times")
    assert results[0][0] == results[2][0] == "works"


class DeadWithResults:
    """A stand-in for the package: an actor that is given a task ``dies`` dies with every result that it made."""

    class exceptions:
        RayTaskError = type("RayTaskError", (Exception,), {})
        RayActorError = type("RayActorError", (Exception,), {})

    def cluster_resources(self):
        return {"CPU": 1}

    def remote(self, worker):
        def actor():
            tasks = []
            return SimpleNamespace(run=SimpleNamespace(remote=lambda _, task: Reference(task, tasks)))

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=actor))

    def wait(self, references, num_returns):
        return references[:num_returns], references[num_returns:]

    def get(self, reference):
        if "dies" in reference.tasks:
            raise self.exceptions.RayActorError
        return reference.task


class Reference:
    """Of a task, with all that its actor was given."""

    def __init__(self, task, tasks):
        self.task, self.tasks = task, tasks
        tasks.append(task)


def test_a_task_whose_result_was_lost_with_an_actor_is_not_taken_for_what_killed_it():
    found = {}
    tasks = ["first", "dies", "last"]
    _Pool(DeadWithResults(), RayExecutor(1), None, tasks, found.__setitem__, None).run()
    assert found == {0: "first", 1: Lost(f"crashed: the worker died {ATTEMPTS} times"), 2: "last"}


def test_what_a_task_raises_ends_the_run():
    with pytest.raises(CodecError, match=r"^by design$"):
        results_of(RayExecutor(1), [("raises", "")])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "ray://127.0.0.1:x"])
def test_nobody_at_the_address(address):
    with pytest.raises(CodecError, match=rf"no Ray cluster at {address} \("):
        _connect(ray, address)


def test_a_cluster_without_room_is_refused():
    with pytest.raises(CodecError, match="the Ray cluster has 2 CPUs and 0 GPUs; a worker needs 3 CPUs and 0 GPUs"):
        results_of(RayExecutor(1, threads=3), [("works", "")])
    with pytest.raises(CodecError, match="a worker needs 1 CPUs and 0.5 GPUs"):
        results_of(RayExecutor(1, gpus=0.5), [("works", "")])


@pytest.mark.parametrize(
    ("resources", "gpus", "workers", "expected"),
    [({"CPU": 8.0}, 0.0, None, 4), ({"CPU": 8.0}, 0.0, 3, 3), ({"CPU": 64.0, "GPU": 2.0}, 0.25, None, 8), ({"CPU": 64.0, "GPU": 1.0}, 0.1, None, 10)],
)
def test_actors_share_cpus_and_gpus(resources, gpus, workers, expected):
    assert RayExecutor(workers, threads=2, gpus=gpus).count(resources) == expected
