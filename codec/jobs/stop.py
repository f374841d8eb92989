"""Ctrl-C and SIGTERM ask long work to save and leave; a second one leaves at once."""

import signal
import threading
from typing import Any, Self


class StopRequest:
    """Context manager that turns the first signal into a flag, in the main thread.

    Attributes:
        signal: its number; ``None`` until it comes.
    """

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

    def _receive(self, number: int, frame: object) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
