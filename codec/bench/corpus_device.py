"""Batches of a corpus through a device: from the host's memory plainly and in flight, and from the device's own."""

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor

from codec.bench.measure import arithmetic, seconds_of
from codec.bench.registry import benchmark
from codec.bench.systems import noise, our_system
from codec.bench.types import BenchConfig, Table
from codec.corpora.device import IN_FLIGHT, DeviceEncoder, Flight, compact
from codec.model.files import load_model

BATCHES = 8
"""In a row, so that copies can overlap with computing."""


@benchmark("corpus-device")
@torch.inference_mode()
def corpus_device(config: BenchConfig) -> Table:
    """Hours an hour of encoding by seconds of audio in a batch; the aim is half of the device's own figure."""
    model = load_model(config.model, config.device, config.engine)
    count = model.num_codebooks
    bare = our_system(config, on_device=True)
    rows: list[tuple[str | float, ...]] = []
    for amount in config.batch_seconds:
        clips = max(1, round(amount / config.seconds))
        # A multiple of 2^-15, as 16-bit files have them.
        wav = (noise(config.seconds, model.sample_rate, clips) * 32_768).round() / 32_768
        batches = [list(wav)] * BATCHES
        small = [[compact(clip) for clip in wav]] * BATCHES
        there = wav.to(config.device)
        ways: dict[str, Callable[[], object]] = {
            "host memory, model.encode": partial(_each, model.encode, batches),
            "host memory, as codec tokenize": partial(in_flight, DeviceEncoder(model, count), small),
            "device memory": partial(_each, bare.encode, [there] * BATCHES),
        }
        audio = BATCHES * clips * config.seconds
        speeds = {name: audio / _seconds(way, config) for name, way in ways.items()}
        rows += [(name, amount, speed, speed / speeds["device memory"]) for name, speed in speeds.items()]
    title = f"clips of {config.seconds:g} s on {config.device}, {config.threads} thread(s); "
    columns = ("audio in", "batch (s)", "encode (h/h)", "of device memory")
    return Table(title + arithmetic(config.device), columns, tuple(rows))


def in_flight(encoder: DeviceEncoder, batches: list[list[Tensor]]) -> list[Tensor | None]:
    """Codes of every clip, with as many batches on their way as there may be."""
    flights: list[Flight] = []
    codes: list[Tensor | None] = []
    for wavs in batches:
        if len(flights) == IN_FLIGHT:
            codes += encoder.finish(flights.pop(0))
        flights.append(encoder.start(wavs))
    for flight in flights:
        codes += encoder.finish(flight)
    return codes


def _each(encode: Callable[[Any], object], batches: list[Any]) -> None:
    for batch in batches:
        encode(batch)


def _seconds(way: Callable[[], object], config: BenchConfig) -> float:
    way()
    return median(seconds_of(way, config.device) for _ in range(config.repeats))
