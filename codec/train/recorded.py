"""Steps of training recorded as CUDA graphs: launched as one, thousands of small kernels cost nothing."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.data.batch import Batch
from codec.train.quantizers import QuantizerTrainer
from codec.train.step import TrainStep, unwrap

WARMUP = 3
"""Ordinary steps of a kind before it is recorded: libraries choose and allocate their kernels in them."""


@dataclass
class _Recording:
    """A graph with the memory it reads from and writes to."""

    graph: torch.cuda.CUDAGraph
    batch: Batch
    active: Tensor
    values: dict[str, Tensor]


class RecordedStep:
    """A :class:`TrainStep` that replays its work on one GPU from a recording (Nguyen et al. 2021).

    The recording holds everything that is the same in each step. The learning rates and the layers
    that each clip is decoded from lie in memory that is written before a replay. Steps that differ run
    as they are: before the codebooks exist, and where dead codes are looked for. Those with and
    without discriminators are recorded apart.
    """

    def __init__(self, step: TrainStep):
        self.step = step
        self.guard = step.guard
        self.check = step.check
        self._quantizer: QuantizerTrainer = unwrap(step.generator).quantizer
        self._stream = torch.cuda.Stream()
        self._recordings: dict[tuple[bool, ...], _Recording] = {}
        self._seen: dict[tuple[bool, ...], int] = {}

    def __call__(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One update, as :class:`TrainStep` does it; ``batch`` has the same shape every time."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        # Gradients are accumulated on the stream that a weight was first used on: it is always this one.
        with torch.cuda.stream(self._stream):
            values = self._update(batch, step)
        current.wait_stream(self._stream)
        return values

    def _update(self, batch: Batch, step: int) -> dict[str, Tensor]:
        kind = self._kind(step)
        if not self._quantizer.settled(step):
            return self.step(batch, step)
        self._seen[kind] = self._seen.get(kind, 0) + 1
        if self._seen[kind] <= WARMUP:
            return self.step(batch, step)
        if kind not in self._recordings:
            self._recordings[kind] = self._record(batch, step)
        return self._replay(self._recordings[kind], batch, step)

    def _kind(self, step: int) -> tuple[bool, ...]:
        adversary = self.step.adversary
        if adversary is None:
            return (False, False, False)
        return (adversary.active(step), adversary.turn(step), adversary.warming(step))

    def _record(self, batch: Batch, step: int) -> _Recording:
        held = _like(batch)
        active = torch.ones(len(batch.wav), dtype=torch.int64, device=batch.wav.device)
        graph = torch.cuda.CUDAGraph()
        # Threads that make batches may pin memory meanwhile, which only this thread must not do.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            values = self.step.compute(held, step, lambda values, step: None, active)
        return _Recording(graph, held, active, values)

    def _replay(self, recording: _Recording, batch: Batch, step: int) -> dict[str, Tensor]:
        _copy(batch, recording.batch)
        recording.active.copy_(self._quantizer.draw_layers(len(batch.wav), step))
        self.step.set_rates(step)
        recording.graph.replay()
        # The next replay writes over the recording's own.
        kept = torch.stack([value.float() for value in recording.values.values()])
        values = dict(zip(recording.values, kept.unbind(), strict=True))
        self.guard.watch(values, step)
        return values


def _tensors(batch: Batch) -> list[Tensor]:
    frames = [tensor for item in batch.teachers.values() for tensor in (item.features, item.mask)]
    return [batch.wav, batch.mask, *frames]


def _like(batch: Batch) -> Batch:
    """A copy in separate memory."""
    return batch.map(Tensor.clone)


def _copy(source: Batch, target: Batch) -> None:
    for new, held in zip(_tensors(source), _tensors(target), strict=True):
        held.copy_(new)
