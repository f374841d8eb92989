"""The arithmetic floor of a streaming frame: what must be computed and read, and how near we are."""

import torch
from torch import nn

from codec.bench.measure import seconds_of
from codec.bench.registry import benchmark
from codec.bench.stream import WARM_UP, frame_times
from codec.bench.types import BenchConfig, Table
from codec.model.files import load_model

_FRAMES = 300


@benchmark("floor")
@torch.inference_mode()
def floor(config: BenchConfig) -> Table:
    """Time to read the weights once and to do the products at this machine's measured speeds.

    A lone frame reads every weight for two operations each, so memory decides.
    """
    model = load_model(config.model, "cpu", config.engine)
    rate, bandwidth = product_rate(), read_rate()
    running = frame_times(model, "cpu")
    times = [next(running) for _ in range(WARM_UP + _FRAMES)][WARM_UP:]
    encode = sum(time.encode for time in times) / len(times)
    decode = sum(time.decode for time in times) / len(times)
    parts = {
        "encoder + quantizer": (weights_of(model.encoder) + model.quantizer.codebooks.numel(), encode),
        "decoder": (weights_of(model.decoder), decode),
    }
    rows = []
    for name, (count, measured) in parts.items():
        reading, products = 1000 * 4 * count / bandwidth, 1000 * 2 * count / rate
        lowest = max(reading, products)
        rows.append((name, 2 * count / 1e6, 4 * count / 1e6, products, reading, measured, measured / lowest))
    title = f"one frame; {rate / 1e9:.0f} GFLOP/s of products, {bandwidth / 1e9:.1f} GB/s of reading measured"
    columns = (
        "part",
        "MFLOP",
        "MB read",
        "products (ms)",
        "reading (ms)",
        "measured (ms)",
        "times the floor",
    )
    return Table(title, columns, tuple(rows))


def weights_of(network: nn.Module) -> int:
    """Numbers that take part in a frame: every parameter once."""
    return sum(parameter.numel() for parameter in network.parameters())


def product_rate() -> float:
    """Floating-point operations a second of large matrix products."""
    a, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    return 2 * 1024**3 / min(seconds_of(lambda: a @ b) for _ in range(10))


def read_rate() -> float:
    """Bytes a second of reading what does not fit in near caches: a sum of 64 MB."""
    values = torch.ones(16 * 2**20)
    return 4 * values.numel() / min(seconds_of(values.sum) for _ in range(10))
