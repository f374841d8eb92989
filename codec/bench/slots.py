"""Many live signals in lockstep: what a step of all of them costs, and how many keep up."""

import torch

from codec.bench.measure import arithmetic, percentiles, seconds_of
from codec.bench.registry import benchmark
from codec.bench.stream import WARM_UP
from codec.bench.types import BenchConfig, Table
from codec.model.codec import Codec
from codec.model.files import load_model


@benchmark("slots")
@torch.inference_mode()
def slots(config: BenchConfig) -> Table:
    """Time steps by engine and number of signals; on a GPU, plain steps and CUDA graphs.

    All from audio in host memory to codes and audio in host memory, checks and copies included.
    """
    both = config.device == "cuda" and config.engine == "auto"
    rows = []
    for engine in ("torch", "graph") if both else (config.engine,):
        model = load_model(config.model, config.device, engine)
        for count in config.slots:
            encode, decode = step_times(model, count, config)
            steps = [sum(pair) for pair in zip(encode, decode, strict=True)]
            found, mean = percentiles(steps), sum(steps) / len(steps)
            hop = 1000 / model.config.frame_rate
            milliseconds = (sum(encode) / len(encode), sum(decode) / len(decode), mean, found.p50, found.p99)
            rows.append((model.engine.name, count, *milliseconds, found.worst, int(count * hop / mean)))
    columns = ("engine", "signals", "encode (ms)", "decode", "both", "p50", "p99", "worst", "in real time")
    title = f"{config.frames} steps of one frame on {config.device}, {config.threads} thread(s); "
    return Table(title + arithmetic(config.device), columns, tuple(rows))


def step_times(model: Codec, count: int, config: BenchConfig) -> tuple[list[float], list[float]]:
    """Milliseconds of every step of ``count`` signals, encoding and decoding."""
    encoder, decoder = model.streaming_encoder(count), model.streaming_decoder(count)
    generator = torch.Generator().manual_seed(0)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARM_UP + config.frames):
        pcm = 0.1 * torch.randn(count, model.hop_length, generator=generator)
        codes: list[torch.Tensor] = []
        encode = seconds_of(lambda: codes.append(encoder.push(pcm)), config.device)  # noqa: B023  (at once)
        decode = seconds_of(lambda: decoder.push(codes[0]), config.device)  # noqa: B023
        times[0].append(1000 * encode)
        times[1].append(1000 * decode)
    return times[0][WARM_UP:], times[1][WARM_UP:]
