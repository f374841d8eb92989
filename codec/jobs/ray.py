"""Tasks on a Ray cluster: actors, each with a task in hand and one waiting."""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from codec.errors import CodecError
from codec.jobs.executor import Lost

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 2
"""Tasks of an actor: while it works on one, the next is there already."""
_KNOCK_SECONDS = 10.0
ATTEMPTS = 3
"""A task whose actor died is given to another, so often in all: it may be what kills them."""


@dataclass(frozen=True)
class RayExecutor:
    """A pool of actors; see :class:`codec.jobs.executor.Executor`.

    Attributes:
        workers: actors; by default as many as the cluster has CPUs, or GPUs by ``gpus``, for.
        threads: CPUs and threads of each.
        gpus: of each, also a part of one.
        address: of the cluster; by default one that this machine belongs to, else a new one on this machine.
    """

    workers: int | None = None
    threads: int = 1
    gpus: float = 0.0
    address: str | None = None

    def run(
        self,
        function: Callable[[T], R],
        tasks: Sequence[T],
        done: Callable[[int, R | Lost], None],
        started: Callable[[int], None] | None = None,
    ) -> None:
        """See :class:`codec.jobs.executor.Executor`.

        Raises:
            CodecError: without the package ray, or a cluster at the address, or room for one actor.
        """
        try:
            import ray
        except ImportError:
            raise CodecError("the engine ray needs the package ray; pip install 'codec[ray]'") from None
        connected = ray.is_initialized()
        if not connected:
            _connect(ray, self.address)
        try:
            if tasks:
                _Pool(ray, self, function, tasks, done, started).run()
        finally:
            if not connected:
                ray.shutdown()

    def count(self, resources: dict[str, float]) -> int:
        """Actors that a cluster has room for, or as many as were asked for.

        Raises:
            CodecError: when there is not room for one: Ray would wait for ever.
        """
        fits = int(resources.get("CPU", 0) // self.threads)
        if self.gpus:
            fits = min(fits, int(resources.get("GPU", 0) / self.gpus + 1e-9))
        if fits < 1:
            have = f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs"
            raise CodecError(f"the Ray cluster has {have}; a worker needs {self.threads} CPUs and {self.gpus:g} GPUs")
        return fits if self.workers is None else min(fits, self.workers)


def _connect(ray: Any, address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is not None:
            _knock(address)
            ray.init(address=address, **options)
            return
        try:
            ray.init(address="auto", **options)
        except ConnectionError:
            ray.init(include_dashboard=False, **options)
    except (OSError, RuntimeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise CodecError(f"no Ray cluster at {address or 'this machine'} ({text[:200]})") from None


def _knock(address: str) -> None:
    """Find out at once that nobody answers; Ray itself tries for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon:
        socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS).close()


class _Pool:
    """One run: hands out tasks, replaces actors that die."""

    def __init__(
        self,
        ray: Any,
        executor: RayExecutor,
        function: Callable[[Any], Any],
        tasks: Sequence[Any],
        done: Callable[[int, Any], None],
        started: Callable[[int], None] | None,
    ):
        self._ray, self._executor, self._function = ray, executor, function
        self._tasks, self._done, self._started = tasks, done, started
        self._left = deque(range(len(tasks)))
        self._attempts = [0] * len(tasks)
        self._flying: dict[Any, tuple[int, Any]] = {}
        # Tasks that an actor had when it died. Which one killed it is not known, since results are lost with it, so
        # each of them goes alone from then on.
        self._suspects: set[int] = set()

    def run(self) -> None:
        """Until every task has a result."""
        count = min(self._executor.count(self._ray.cluster_resources()), len(self._tasks))
        for _ in range(count):
            self._feed(self._actor())
        while self._flying:
            for reference in self._ray.wait(list(self._flying), num_returns=1)[0]:
                self._take(reference)

    def _actor(self) -> Any:
        executor = self._executor
        options = {"num_cpus": executor.threads, "num_gpus": executor.gpus, "max_restarts": 0}
        # Ray gives its workers as many threads as CPUs, by OMP_NUM_THREADS.
        return self._ray.remote(_Worker).options(**options).remote()

    def _feed(self, actor: Any) -> None:
        """Give an actor tasks up to :data:`IN_FLIGHT`, or one that is suspected of killing actors."""
        hands = [index for index, other in self._flying.values() if other is actor]
        while self._left and len(hands) < IN_FLIGHT:
            if hands and not self._suspects.isdisjoint([*hands, self._left[0]]):
                return
            index = self._left.popleft()
            self._attempts[index] += 1
            if self._started is not None and self._attempts[index] == 1:
                self._started(index)
            self._flying[actor.run.remote(self._function, self._tasks[index])] = index, actor
            hands.append(index)

    def _take(self, reference: Any) -> None:
        if reference not in self._flying:  # of an actor that died meanwhile
            return
        index, actor = self._flying[reference]
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            # What the function raised, as the function raised it.
            raise error.cause if isinstance(error.cause, Exception) else error from None
        except self._ray.exceptions.RayActorError:
            self._bury(actor)
            return
        del self._flying[reference]
        self._done(index, result)
        self._feed(actor)

    def _bury(self, actor: Any) -> None:
        """An actor died: its tasks go to the front of the queue, and another actor takes its place."""
        references = [reference for reference, (_, other) in self._flying.items() if other is actor]
        running, *waiting = [self._flying.pop(reference)[0] for reference in references]
        self._suspects.update([running, *waiting])
        for index in reversed(waiting):
            self._attempts[index] -= 1
            self._left.appendleft(index)
        if self._attempts[running] < ATTEMPTS:
            self._left.appendleft(running)
        else:
            self._done(running, Lost(f"crashed: the worker died {ATTEMPTS} times"))
        if self._left:
            self._feed(self._actor())


class _Worker:
    """An actor; what functions keep in their modules, such as a model, stays from task to task."""

    def run(self, function: Callable[[Any], Any], task: Any) -> Any:
        """One task."""
        return function(task)
