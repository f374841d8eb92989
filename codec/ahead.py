"""Results computed in threads ahead of their use, as far as memory allows."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(
    function: Callable[[T], R], items: Iterable[T], threads: int, limit: float, size: Callable[[R], float]
) -> Iterator[R]:
    """Results in order. The threads go on while the caller is busy with earlier results.

    Args:
        threads: that call the function.
        limit: of what waits: no call begins while the sizes of finished results sum up to more.
        size: of a result.

    Raises:
        Exception: what the function or the items raised, when its result is due.
    """
    buffer: _Buffer[R] = _Buffer(2 * threads, limit)
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        feeder = threading.Thread(target=_feed, args=(pool, function, items, buffer, size), daemon=True)
        feeder.start()
        try:
            while (future := buffer.futures.get()) is not None:
                result = future.result()
                buffer.taken(size(result))
                yield result
        finally:
            buffer.close()
            feeder.join()


def _feed(
    pool: ThreadPoolExecutor,
    function: Callable[[T], R],
    items: Iterable[T],
    buffer: "_Buffer[R]",
    size: Callable[[R], float],
) -> None:
    def call(item: T) -> R:
        amount = 0.0
        try:
            result = function(item)
            amount = size(result)
            return result
        finally:
            buffer.finished(amount)

    # Calls begin in order, so that the result that is due never waits for room that later ones hold.
    try:
        for item in items:
            if not buffer.room():
                break
            buffer.futures.put(pool.submit(call, item))
        buffer.futures.put(None)
    except BaseException as error:  # noqa: BLE001  (raised again where results are taken)
        failed: Future[R] = Future()
        failed.set_exception(error)
        buffer.futures.put(failed)


class _Buffer(Generic[R]):
    """What is being computed and what waits to be used."""

    def __init__(self, most_running: int, limit: float):
        self.futures: SimpleQueue[Future[R] | None] = SimpleQueue()
        self._most_running, self._limit = most_running, limit
        self._running, self._waiting, self._closed = 0, 0.0, False
        self._changed = threading.Condition()

    def room(self) -> bool:
        """Wait until another call may begin, and count it; false when none shall any more."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or (self._running < self._most_running and self._waiting <= self._limit)
            )
            self._running += 1
            return not self._closed

    def finished(self, amount: float) -> None:
        """A call has ended, and its result waits."""
        with self._changed:
            self._running -= 1
            self._waiting += amount
            self._changed.notify()

    def taken(self, amount: float) -> None:
        """A result is no longer held here."""
        with self._changed:
            self._waiting -= amount
            self._changed.notify()

    def close(self) -> None:
        """Begin no more calls."""
        with self._changed:
            self._closed = True
            self._changed.notify()
