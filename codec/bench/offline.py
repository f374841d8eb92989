"""A whole clip at once: speed in multiples of real time, ours and the baselines' in turn."""

from statistics import median
from typing import Any

import torch

from codec.bench.measure import seconds_of
from codec.bench.registry import benchmark
from codec.bench.systems import TimedSystem, baseline_system, noise, our_system
from codec.bench.types import BenchConfig, Table


@benchmark("offline")
@torch.inference_mode()
def offline(config: BenchConfig) -> Table:
    """Medians over rounds in which every system has its turn: a busy moment hits them alike."""
    systems = [our_system(config), *(baseline_system(name, config.device) for name in config.baselines)]
    for system in systems:
        _once(system, 0.5, config.device)
    rounds = [
        [_once(system, config.seconds, config.device) for system in systems] for _ in range(config.repeats)
    ]
    rows: list[tuple[str | float, ...]] = []
    for index, system in enumerate(systems):
        encode, decode = (median(times[index][part] for times in rounds) for part in (0, 1))
        ratio = median(sum(times[index]) / sum(times[0]) for times in rounds)
        speeds = (config.seconds / value for value in (encode, decode, encode + decode))
        rows.append((system.name, *speeds, ratio))
    columns = ("system", "encode (x real time)", "decode", "both", "codec is faster by")
    return Table(f"{config.seconds:g} s clip, {config.threads} thread(s)", columns, tuple(rows))


def _once(system: TimedSystem, seconds: float, device: str) -> tuple[float, float]:
    """Seconds to encode and to decode."""
    wav = noise(seconds, system.sample_rate)
    codes: list[Any] = []
    encode = seconds_of(lambda: codes.append(system.encode(wav)), device)
    return encode, seconds_of(lambda: system.decode(codes[0]), device)
