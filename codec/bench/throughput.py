"""Batches of clips: hours of audio per hour, for a GPU above all."""

from statistics import median
from typing import Any

import torch

from codec.bench.measure import arithmetic, seconds_of
from codec.bench.registry import benchmark
from codec.bench.systems import TimedSystem, baseline_system, noise, our_system
from codec.bench.types import BenchConfig, Table

_BATCHED = ("encodec", "mimi")


@benchmark("throughput")
@torch.inference_mode()
def throughput(config: BenchConfig) -> Table:
    """Ours, EnCodec and Mimi, by seconds of audio in a batch.

    From host memory to host memory, copies included; on a GPU also with audio and codes that stay there.
    """
    rows = []
    for on_device in (False, True) if config.device == "cuda" else (False,):
        systems = [our_system(config, on_device)]
        systems += [baseline_system(name, config.device, on_device) for name in config.baselines if name in _BATCHED]
        place = "device" if on_device else "host"
        for amount in config.batch_seconds:
            rows += [
                (system.name, place, amount, *_speeds(system, amount, config, place)) for system in systems
            ]
    columns = ("system", "audio in", "batch (s)", "encode (h/h)", "decode", "both")
    title = f"batches of {config.seconds:g} s clips on {config.device}, {config.threads} thread(s); "
    return Table(title + arithmetic(config.device), columns, tuple(rows))


def _speeds(system: TimedSystem, amount: float, config: BenchConfig, place: str) -> tuple[str | float, ...]:
    """Seconds of audio per second of encoding, decoding and both; words where memory runs out."""
    wav = noise(config.seconds, system.sample_rate, max(1, round(amount / config.seconds)))
    wav = wav.to(config.device) if place == "device" else wav
    audio = len(wav) * config.seconds
    times = None
    try:
        # On a GPU all kernels for these shapes are loaded and their memory is found; a CPU needs less.
        _once(system, wav if config.device == "cuda" else wav[:1], config.device)
        times = [_once(system, wav, config.device) for _ in range(config.repeats)]
    except torch.cuda.OutOfMemoryError:
        pass
    if times is None:
        # Not inside, where the error still holds on to what was computed.
        torch.cuda.empty_cache()
        return ("out of memory",) * 3
    encode, decode = (median(pair[part] for pair in times) for part in (0, 1))
    return audio / encode, audio / decode, audio / (encode + decode)


def _once(system: TimedSystem, wav: torch.Tensor, device: str) -> tuple[float, float]:
    """Seconds to encode and to decode a batch."""
    codes: list[Any] = []
    encode = seconds_of(lambda: codes.append(system.encode(wav)), device)
    return encode, seconds_of(lambda: system.decode(codes[0]), device)
