"""Many live signals in real time, served together by the slots of one stream."""

import heapq
import time
from collections.abc import Callable

import torch

from codec.bench.measure import late, percentiles
from codec.bench.registry import benchmark
from codec.bench.types import BenchConfig, Table
from codec.model.files import load_model


@benchmark("clients")
@torch.inference_mode()
def clients(config: BenchConfig) -> Table:
    """A frame is late when its audio leaves more than a frame's time after its samples were complete."""
    model = load_model(config.model, config.device, config.engine)
    hop = model.hop_length / model.sample_rate
    encoder = model.streaming_encoder(config.clients)
    decoder = model.streaming_decoder(config.clients)
    pcm = 0.1 * torch.randn(config.clients, model.hop_length)

    def step(slots: list[int]) -> None:
        samples = torch.zeros(config.clients, dtype=torch.long)
        samples[slots] = model.hop_length
        codes = encoder.push(pcm, lengths=samples)
        decoder.push(codes, lengths=encoder.lengths)

    for _ in range(20):
        step(list(range(config.clients)))
    latencies = serve_frames(step, config.clients, hop, config.live_seconds)
    found = percentiles(latencies)
    milliseconds = (1000 * value for value in (found.p50, found.p95, found.p99, found.worst))
    row = (config.clients, len(latencies), late(latencies, hop), *milliseconds)
    columns = ("clients", "frames", "late", "p50 (ms)", "p95", "p99", "worst")
    title = f"live signals for {config.live_seconds:g} s, {config.threads} thread(s)"
    return Table(title, columns, (row,))


def serve_frames(
    step: Callable[[list[int]], None],
    count: int,
    hop: float,
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> list[float]:
    """Latencies in seconds of all frames of ``count`` signals.

    The signals' frames are complete at even offsets within a hop. What is complete goes into one
    step, one frame of a signal at most, the longest waiting first.
    """
    start = clock()
    due = [(start + hop * (1 + slot / count), slot) for slot in range(count)]
    heapq.heapify(due)
    latencies: list[float] = []
    while due:
        sleep(max(0.0, due[0][0] - clock()))
        now, ready = clock(), []
        while due and due[0][0] <= now:
            ready.append(heapq.heappop(due))
        if not ready:
            continue
        step([slot for _, slot in ready])
        done = clock()
        for moment, slot in ready:
            latencies.append(done - moment)
            if moment + hop <= start + seconds:
                heapq.heappush(due, (moment + hop, slot))
    return latencies
