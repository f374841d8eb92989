"""The arithmetic floor of a frame and of a clip: what must be computed and read, and how near we are."""

from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from codec.bench.measure import seconds_of
from codec.bench.registry import benchmark
from codec.bench.stream import WARM_UP, frame_times
from codec.bench.systems import noise
from codec.bench.types import BenchConfig, Table
from codec.model.codec import Codec
from codec.model.files import load_model

_FRAMES = 300


@benchmark("floor")
@torch.inference_mode()
def floor(config: BenchConfig) -> Table:
    """Time to read the weights once and to do the products at this machine's measured speeds.

    A lone frame reads every weight for two operations, so memory decides; of a clip, products do.
    """
    model = load_model(config.model, "cpu", config.engine)
    rate, bandwidth = product_rate(), read_rate()
    weights = {
        "encoder + quantizer": weights_of(model.encoder)
        + sum(x.numel() for x in model.quantizer.state_dict().values()),
        "decoder": weights_of(model.decoder),
    }
    rows = []
    for what, frames, measured in (
        ("a frame", 1, _frame_times(model)),
        (
            f"{config.seconds:g} s",
            round(config.seconds * model.config.frame_rate),
            _clip_times(model, config),
        ),
    ):
        for (name, count), time in zip(weights.items(), measured, strict=True):
            reading, products = 1000 * 4 * count / bandwidth, 1000 * 2 * count * frames / rate
            sizes = 2 * count * frames / 1e6, 4 * count / 1e6
            rows.append((f"{name}, {what}", *sizes, products, reading, time, time / max(reading, products)))
    title = (
        f"engine {model.engine.name}, {config.threads} thread(s); {rate / 1e9:.0f} GFLOP/s of products, "
        f"{bandwidth / 1e9:.1f} GB/s of reading measured"
    )
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


def _frame_times(model: Codec) -> tuple[float, float]:
    """Median milliseconds to encode and to decode a frame of a stream."""
    running = frame_times(model, "cpu")
    times = [next(running) for _ in range(WARM_UP + _FRAMES)][WARM_UP:]
    return median(time.encode for time in times), median(time.decode for time in times)


def _clip_times(model: Codec, config: BenchConfig) -> tuple[float, float]:
    """Median milliseconds to encode and to decode a clip."""
    wav = noise(config.seconds, model.sample_rate)
    tokens = model.encode(wav)

    def milliseconds(call: Callable[[], object]) -> float:
        return 1000 * median(seconds_of(call) for _ in range(config.repeats))

    return milliseconds(lambda: model.encode(wav)), milliseconds(lambda: model.decode(tokens))


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
