"""Batches made ahead of time, by threads or processes; what they hold does not depend on that."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from codec.data.batch import Batch
from codec.data.loading.batches import CropBatches
from codec.data.loading.config import DataConfig


def prefetch(
    batches: CropBatches, start: int, stop: int, config: DataConfig, pin: bool
) -> "Prefetcher | ProcessPrefetcher":
    """An iterable context of the batches of steps ``start`` to ``stop - 1``, in order.

    Args:
        batches: makes them.
        start: first step.
        stop: step after the last.
        config: how many threads or processes, how far ahead.
        pin: put batches into page-locked memory, for copies to a GPU during its work.
    """
    if config.processes:
        return ProcessPrefetcher(batches, start, stop, config.processes, config.prefetch, pin)
    return Prefetcher(batches, start, stop, config.workers, config.prefetch, pin)


class Prefetcher:
    """Threads: they share what teachers on the fly and caches keep in memory."""

    def __init__(self, batches: CropBatches, start: int, stop: int, workers: int, ahead: int, pin: bool):
        self._batches, self._steps = batches, iter(range(start, stop))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="crops")
        self._ahead, self._pin = max(1, ahead), pin
        self._waiting: deque[Future[Batch]] = deque()

    def __iter__(self) -> Iterator[Batch]:
        self._fill()
        while self._waiting:
            batch = self._waiting.popleft().result()
            self._fill()
            yield batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _fill(self) -> None:
        while len(self._waiting) < self._ahead:
            step = next(self._steps, None)
            if step is None:
                return
            self._waiting.append(self._pool.submit(self._make, step))

    def _make(self, step: int) -> Batch:
        batch = self._batches.batch(step)
        return batch.pin_memory() if self._pin else batch


class ProcessPrefetcher:
    """Processes: cutting and augmenting holds the interpreter's lock, and one fast GPU outruns it.

    They are forked, so teachers that compute on the fly (and may hold a GPU) need threads instead.
    """

    def __init__(self, batches: CropBatches, start: int, stop: int, processes: int, ahead: int, pin: bool):
        # A thread of the loader's pins: this one has a GPU to keep busy.
        self._loader: DataLoader[Batch] | None = DataLoader(
            _Steps(batches, start, stop),
            batch_size=None,
            num_workers=processes,
            prefetch_factor=max(1, -(-ahead // processes)),
            multiprocessing_context="fork",
            pin_memory=pin,
        )

    def __iter__(self) -> Iterator[Batch]:
        assert self._loader is not None
        yield from self._loader

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        # The loader ends its processes when it goes away.
        self._loader = None


class _Steps(Dataset[Batch]):
    """The batches of a range of steps."""

    def __init__(self, batches: CropBatches, start: int, stop: int):
        self._batches, self._steps = batches, range(start, stop)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: int) -> Batch:
        torch.set_num_threads(1)
        return self._batches.batch(self._steps[index])


def move_batch(batch: Batch, device: torch.device) -> Batch:
    """The batch on ``device`` in float32, copied without waiting where the memory is pinned."""

    def move(tensor: Tensor) -> Tensor:
        moved = tensor.to(device, non_blocking=True)
        return moved.float() if moved.is_floating_point() else moved

    return batch.map(move)
