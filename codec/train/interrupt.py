"""Ctrl-C and SIGTERM ask the loop to save and leave; a second one leaves at once."""

import signal
import threading
from typing import Any, Self

import torch
import torch.distributed as dist

from codec.train.distributed import world_size


class StopRequest:
    """Context manager that turns the first signal into a flag."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        self._restore()

    def agreed(self, device: torch.device) -> bool:
        """Whether any process was asked to stop: all must leave after the same step."""
        if world_size() == 1:
            return self.signal is not None
        number = torch.tensor(self.signal or 0, device=device)
        dist.all_reduce(number, op=dist.ReduceOp.MAX)
        self.signal = int(number) or None
        return self.signal is not None

    def _receive(self, number: int, frame: object) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
