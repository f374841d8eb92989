"""Tasks for workers that behave well or badly; apart, so that they need not import what tests do."""

import io
import os
import signal
from pathlib import Path

from codec import CodecError
from codec.corpora import shard


def work(task):
    kind, _ = task
    if kind == "raises":
        raise CodecError("by design")
    if kind == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return kind, os.environ.get("OMP_NUM_THREADS")


def dying_shard(mark: str, task: shard.ShardTask) -> shard.ShardReport:
    """The first process that makes shard 1 is killed when half of its table is on the disk."""
    write = shard.write_table

    def write_half(file, *content):
        whole = io.BytesIO()
        write(whole, *content)
        file.write(whole.getvalue()[: whole.tell() // 2])
        file.flush()
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)

    if task.shard == 1 and not Path(mark).exists():
        shard.write_table = write_half
    return shard.run_shard(task)
