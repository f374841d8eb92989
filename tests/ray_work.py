"""A task for workers of Ray that behaves well or badly; apart, so that they need not import what tests do."""

import os
import signal
from pathlib import Path

from codec import CodecError


def work(task):
    kind, place = task
    if kind == "raises":
        raise CodecError("by design")
    if kind == "dies" or (kind == "dies once" and not Path(place).exists()):
        Path(place).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return kind, os.environ.get("OMP_NUM_THREADS")
