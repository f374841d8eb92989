"""Speed of the engines: live frames, 16 live signals, and a whole recording.

Prints milliseconds per frame of 20 ms, for encoder and decoder, and how many times faster than real time a
recording goes through. Sound is noise, which costs what speech costs.

``python recipes/bench_engines.py engines='[torch,onnx]' minutes=10``
"""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from codec.model.codec import Codec
from codec.model.files import load_model
from codec.train.recipe import run_recipe

WARM_UP = 50
"""Frames that are not counted: the first ones load and compile."""


@dataclass(frozen=True)
class BenchConfig:
    """What is measured."""

    engines: tuple[str, ...] = ("torch", "onnx")
    """As ``--engine`` of ``codec encode``."""
    model: str = "default"
    minutes: float = 1.0
    """Sound of one live signal; several go on for a tenth of it."""
    slots: int = 16
    seconds: float = 60.0
    """Length of the whole recording."""
    threads: int = 1


def milliseconds(call: Callable[[], object]) -> tuple[object, float]:
    start = time.perf_counter()
    result = call()
    return result, 1000 * (time.perf_counter() - start)


def live(model: Codec, batch: int, frames: int) -> list[tuple[float, float]]:
    """Milliseconds of encoder and decoder for every frame of ``batch`` signals."""
    encoder, decoder = model.streaming_encoder(batch), model.streaming_decoder(batch)
    times = []
    for _ in range(WARM_UP + frames):
        pcm = 0.1 * torch.randn(batch, model.hop_length)
        codes, encoding = milliseconds(lambda: encoder.push(pcm))  # noqa: B023  (called at once)
        _, decoding = milliseconds(lambda: decoder.push(codes))  # noqa: B023
        times.append((encoding, decoding))
    return times[WARM_UP:]


def describe(times: list[tuple[float, float]]) -> str:
    encoding, decoding = (statistics.mean(part) for part in zip(*times, strict=True))
    both = sorted(sum(pair) for pair in times)
    percentile = both[int(0.99 * len(both))]
    return (
        f"{encoding:.2f} + {decoding:.2f} = {encoding + decoding:.2f} ms, "
        f"p99 {percentile:.2f}, worst {both[-1]:.2f}"
    )


def memory() -> float:
    """The most memory that this process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def bench(config: BenchConfig, engine: str) -> None:
    model, ready = milliseconds(lambda: load_model(config.model, "cpu", engine))
    frames = round(60 * config.minutes * model.sample_rate / model.hop_length)
    _, first = milliseconds(lambda: live(model, 1, 1))
    print(f"{engine}: loaded in {ready:.0f} ms, first frames after {first:.0f} ms")
    before = memory()
    print(f"  one signal, {frames} frames: {describe(live(model, 1, frames))}")
    print(f"  memory: {before:.0f} MB before, {memory():.0f} MB after")
    print(
        f"  {config.slots} signals, {frames // 10} frames: {describe(live(model, config.slots, frames // 10))}"
    )
    wav = 0.1 * torch.randn(round(config.seconds * model.sample_rate))
    tokens, encoding = milliseconds(lambda: model.encode(wav))
    _, decoding = milliseconds(lambda: model.decode(tokens))
    speed = 1000 * config.seconds / (encoding + decoding)
    print(f"  {config.seconds:g} s at once: {encoding:.0f} + {decoding:.0f} ms, {speed:.0f} x real time")


@torch.inference_mode()
def main(config: BenchConfig) -> None:
    """Bench one engine after the other."""
    torch.set_num_threads(config.threads)
    for engine in config.engines:
        bench(config, engine)


if __name__ == "__main__":
    sys.exit(run_recipe(BenchConfig, main, __doc__))
