"""Networks run step by step: offline in long chunks, streaming frame by frame, by the same code."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from codec.model.states import SlotStates, State, map_state

CHUNK_FRAMES = 1024
"""Frames of one step (about 20 s): large enough for speed, small enough for memory."""


class StepFunction(Protocol):
    """``(input (B, ..., n * unit), state) -> (output (B, ..., n * unit'), state)``, causal."""

    def __call__(self, x: Tensor, state: State = None, /) -> tuple[Tensor, State]: ...


@dataclass(frozen=True)
class Limits:
    """What a network's steps must be like, as its modules have it (:class:`codec.model.registry.Encoder`)."""

    first_frames: int = 1
    any_end: bool = False


class Steps:
    """Carries the states of ``batch`` signals through a :class:`StepFunction`.

    Attributes:
        unit: input length of one frame, along the last axis.
        min_rows: least frames of one step, over the whole batch; a smaller step is filled up.
        block_frames: frames between two states that are kept.
    """

    block_frames = 1

    def __init__(self, function: StepFunction, batch: int, unit: int, min_rows: int = 1):
        self.function = function
        # Of a signal's end, which may be no whole frame.
        self.end_function = function
        self.unit = unit
        self.min_rows = min_rows
        self.states = SlotStates(batch)

    def run(self, x: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """The next frames of some signals, or of all, in the order of ``rows``."""
        y, state = self.compute(x, self.states.take(rows))
        self.states.put(state, rows)
        return y

    def run_end(self, x: Tensor, row: int) -> Tensor:
        """The end of a signal, ``(1, ..., T)`` with any T of 1 or more; nothing may follow it."""
        return self.end_function(x, self.states.take([row]))[0]

    def compute(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """The function of an input that is filled up where it has too few rows."""
        count = x.shape[0]
        copies = -(-self.min_rows * self.unit // (count * x.shape[-1]))
        if copies > 1:
            x = _repeat(x, copies)
            state = map_state(lambda tensor: _repeat(tensor, copies), state)
        y, state = self.function(x, state)
        if copies > 1:
            y = y[:count]
            state = map_state(lambda tensor: tensor[:count], state)
        return y, state

    def reset(self, rows: Sequence[int]) -> None:
        """Restart these signals."""
        self.states.reset(rows)

    def state_dict(self) -> dict[str, Tensor]:
        return self.states.state_dict()

    def load_state_dict(self, saved: dict[str, Tensor], silence: Tensor) -> None:
        """``silence``: any input of one frame for every signal, for the shapes of the state."""
        self.states.load_state_dict(saved, lambda: self.function(silence)[1])


def _repeat(x: Tensor, copies: int) -> Tensor:
    """Repeat the batch; one signal is expanded without a copy."""
    return x.expand(copies, *x.shape[1:]) if x.shape[0] == 1 else torch.cat([x] * copies)


def run_ragged(
    steps: Steps,
    inputs: list[Tensor],
    frames: list[int],
    emit: Callable[[int, Tensor], None],
    starting: Sequence[int] = (),
) -> None:
    """Advance every signal by its own number of frames.

    Args:
        inputs: per signal, ``(..., T)`` with ``T >= frames * unit``.
        frames: per signal.
        emit: called with a signal's index and the next part of its output, in order.
        starting: signals whose next step must not be cut short for the sake of others.
    """
    done, first = [0] * len(inputs), set(starting)
    while rows := [row for row, count in enumerate(frames) if count > done[row]]:
        rows = [row for row in rows if row in first] or rows
        first -= set(rows)
        count = min(CHUNK_FRAMES, *(frames[row] - done[row] for row in rows))
        parts = [inputs[row][..., done[row] * steps.unit : (done[row] + count) * steps.unit] for row in rows]
        for row, piece in zip(rows, steps.run(torch.stack(parts), rows).unbind(0), strict=True):
            emit(row, piece)
            done[row] += count


def run_signals(
    steps: Steps,
    signals: list[Tensor],
    begun: Sequence[bool],
    ended: Sequence[bool],
    limits: Limits,
    emit: Callable[[int, Tensor], None],
) -> list[int]:
    """Advance every signal as far as the network's :class:`Limits` allow.

    Args:
        signals: per signal, ``(..., T)``, all that has come and was not used yet.
        begun: per signal, whether any of it was used before.
        ended: per signal, whether nothing follows.
        emit: as for :func:`run_ragged`.

    Returns:
        How much of each signal, along its last axis, was used.
    """
    frames, ends = [], {}
    for row, signal in enumerate(signals):
        whole, rest = divmod(signal.shape[-1], steps.unit)
        short = not begun[row] and whole < limits.first_frames
        if ended[row] and signal.shape[-1] and ((short and limits.first_frames > 1) or (limits.any_end and rest)):
            whole = 0 if short else whole
            ends[row] = signal[..., whole * steps.unit :].unsqueeze(0)
        elif short:
            whole = 0
        frames.append(whole)
    starting = [row for row, count in enumerate(frames) if count and not begun[row] and limits.first_frames > 1]
    run_ragged(steps, signals, frames, emit, starting)
    for row, end in ends.items():
        emit(row, steps.run_end(end, row)[0])
    used = [count * steps.unit for count in frames]
    return [count + (ends[row].shape[-1] if row in ends else 0) for row, count in enumerate(used)]


def run_even(steps: Steps, x: Tensor, frames: int, rows: Sequence[int] | None = None) -> Tensor:
    """Advance all signals, or some, by the same number of frames, 1 or more.

    Args:
        x: ``(B, ..., T)`` with ``T >= frames * unit``; B signals, in the order of ``rows`` where given.
        rows: the signals, in increasing order.

    Returns:
        ``(B, ..., frames * unit')``.
    """
    if frames <= CHUNK_FRAMES:
        return steps.run(x[..., : frames * steps.unit], rows)
    starts = range(0, frames, CHUNK_FRAMES)
    stops = [min(start + CHUNK_FRAMES, frames) for start in starts]
    parts = [x[..., i * steps.unit : j * steps.unit] for i, j in zip(starts, stops, strict=True)]
    return torch.cat([steps.run(part, rows) for part in parts], dim=-1)
