"""Batches of clips: hours of audio per hour, for a GPU above all."""

import torch

from codec.bench.measure import seconds_of
from codec.bench.registry import benchmark
from codec.bench.systems import System, noise, our_system, peer_system
from codec.bench.types import BenchConfig, Table

_BATCHED = ("encodec", "mimi")


@benchmark("throughput")
@torch.inference_mode()
def throughput(config: BenchConfig) -> Table:
    """Ours, EnCodec and Mimi, by seconds of sound in a batch."""
    peers = [name for name in config.peers if name in _BATCHED]
    systems = [our_system(config), *(peer_system(name, config.device) for name in peers)]
    rows = tuple(_row(system, amount, config) for amount in config.batch_seconds for system in systems)
    columns = ("system", "batch (s)", "encode (h/h)", "decode", "both")
    return Table(f"batches on {config.device}, {config.threads} thread(s)", columns, rows)


def _row(system: System, amount: float, config: BenchConfig) -> tuple[str | float, ...]:
    batch = max(1, round(amount / config.seconds))
    wav = noise(config.seconds, system.sample_rate, batch)
    encoded: list = [system.encode(wav[:1])]
    system.decode(encoded.pop())
    encode = seconds_of(lambda: encoded.append(system.encode(wav)), config.device)
    decode = seconds_of(lambda: system.decode(encoded[0]), config.device)
    sound = batch * config.seconds
    return system.name, amount, sound / encode, sound / decode, sound / (encode + decode)
