"""One live signal, frame by frame, as fast as it goes: milliseconds of a frame, and memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from codec.bench.measure import Percentiles, percentiles, resident_megabytes, seconds_of
from codec.bench.registry import benchmark
from codec.bench.types import BenchConfig, Rows, Table
from codec.model.codec import Codec
from codec.model.files import load_model

WARM_UP = 50
"""Frames that do not count: the first ones load kernels."""


@dataclass(frozen=True)
class FrameTime:
    """Milliseconds of one frame."""

    encode: float
    decode: float


@benchmark("stream")
@torch.inference_mode()
def stream(config: BenchConfig) -> Table:
    """Percentiles over all frames; memory at the start and at the end."""
    model = load_model(config.model, config.device, config.engine)
    frames = max(1, round(60 * config.minutes * model.config.frame_rate))
    running = frame_times(model, config.device)
    for _ in range(WARM_UP):
        next(running)
    before = resident_megabytes()
    times = [next(running) for _ in range(frames)]
    after = resident_megabytes()
    parts = {
        "encode": [time.encode for time in times],
        "decode": [time.decode for time in times],
        "both": [time.encode + time.decode for time in times],
    }
    rows: Rows = tuple((name, *_row(values), before, after) for name, values in parts.items())
    hop = 1000 / model.config.frame_rate
    title = f"{frames} frames of {hop:g} ms, {config.threads} thread(s)"
    columns = ("ms of a frame", "mean", "p50", "p95", "p99", "worst", "MB at the start", "MB at the end")
    return Table(title, columns, rows)


def frame_times(model: Codec, device: str) -> Iterator[FrameTime]:
    """Endless frames of noise through an encoder and a decoder."""
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    codes: list[torch.Tensor] = []
    generator = torch.Generator().manual_seed(0)
    while True:
        pcm = 0.1 * torch.randn(1, model.hop_length, generator=generator)
        encode = seconds_of(lambda: codes.append(encoder.push(pcm)), device)  # noqa: B023  (called at once)
        decode = seconds_of(lambda: decoder.push(codes.pop()), device)
        yield FrameTime(1000 * encode, 1000 * decode)


def _row(values: list[float]) -> tuple[float, ...]:
    found: Percentiles = percentiles(values)
    return sum(values) / len(values), found.p50, found.p95, found.p99, found.worst
