"""Code shared by streaming encoder and decoder: slots whose signals end and start again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, SupportsIndex

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.model.arrays import to_counts
from codec.model.network import Network
from codec.model.shield import shielded
from codec.model.steps import Steps

OTHER_STREAM = "the saved stream is of another model, batch or mode; start a new one"
"""What a state that does not fit is refused with."""


@dataclass(frozen=True)
class Latency:
    """Algorithmic delay of a sample, from its arrival to what is made of it, computing time excluded."""

    samples: int
    milliseconds: float


def latency_of(samples: int, sample_rate: int) -> Latency:
    """``samples`` at ``sample_rate`` Hz."""
    return Latency(samples, 1000.0 * samples / sample_rate)


Counts = Tensor | Sequence[int] | int
Mask = Tensor | Sequence[bool]


class Slots:
    """The slots of a stream."""

    def __init__(self, model: Network, batch: int, steps: Steps):
        self.model = model
        self.batch = batch
        self._lengths = torch.zeros(batch, dtype=torch.int64)
        self._steps = steps
        self._ended = [False] * batch

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """Copies and pickles would share the state of computation, or lose it."""
        raise CodecError(
            "a live stream cannot be copied or pickled; keep its state_dict() and load that into a new stream of "
            "the model"
        )

    @property
    @shielded
    def lengths(self) -> Tensor:
        """``(B,)`` how much of the last result belongs to each slot; zeros follow it."""
        return self._lengths

    @shielded
    def reset(self, mask: Mask | None = None) -> None:
        """Make the slots in ``mask (B,)``, or all, ready for a new signal."""
        rows = self._rows(mask)
        self._steps.reset(rows)
        for row in rows:
            self._ended[row] = False
            self._restart(row)

    def _restart(self, row: int) -> None:
        raise NotImplementedError

    def _rows(self, mask: Mask | None) -> list[int]:
        """Indices of the slots in a mask."""
        if mask is None:
            return list(range(self.batch))
        mask = to_counts(mask, "a mask")
        if mask.shape != (self.batch,) or mask.dtype != torch.bool:
            raise CodecError(f"a mask is ({self.batch},) booleans, got {mask.dtype} {tuple(mask.shape)}")
        return mask.nonzero().flatten().tolist()

    def _counts(self, counts: Counts, name: str) -> list[int]:
        values = to_counts(counts, name).reshape(-1)
        if values.shape != (self.batch,) or values.is_floating_point():
            raise CodecError(f"{name} must be ({self.batch},) whole numbers, got {values.tolist()}")
        return values.tolist()

    def _check_lengths(self, lengths: Counts | None, longest: int) -> list[int]:
        """The number of samples or frames that each slot receives."""
        counts = [longest] * self.batch if lengths is None else self._counts(lengths, "lengths")
        if not all(0 <= count <= longest for count in counts):
            raise CodecError(f"lengths {counts} do not fit the input: each is 0 to {longest}")
        for row, count in enumerate(counts):
            if count and self._ended[row]:
                raise CodecError(f"{self._named(row)} has been flushed; reset it before the next signal")
        return counts

    def _named(self, row: int) -> str:
        """A slot in messages: a single one has no number."""
        return f"slot {row}" if self.batch > 1 else "the stream"

    def _state_tensors(self) -> dict[str, Tensor]:
        saved = {f"steps.{name}": tensor for name, tensor in self._steps.state_dict().items()}
        return saved | {"ended": torch.tensor(self._ended), "block_frames": self._block_frames()}

    def _load_tensors(self, saved: dict[str, Tensor], names: list[str], silence: Tensor) -> None:
        """Check that the further tensors ``names`` are there, and take what is shared."""
        blocks = self._block_frames()
        fits = isinstance(saved, dict) and all(
            isinstance(saved.get(name), Tensor) and saved[name].shape[:1] == (self.batch,)
            for name in ("ended", "block_frames", *names)
        )
        if not fits or not torch.equal(saved["block_frames"], blocks):
            raise CodecError(OTHER_STREAM)
        steps = {name[6:]: tensor for name, tensor in saved.items() if name.startswith("steps.")}
        self._steps.load_state_dict(steps, silence.to(self._device))
        self._ended = saved["ended"].tolist()

    def _block_frames(self) -> Tensor:
        return torch.full((self.batch,), self._steps.block_frames)

    @property
    def _device(self) -> torch.device:
        return self.model.device


def check_streaming(model: Network, batch: int) -> None:
    """Raise a :class:`CodecError` unless the model can stream."""
    if not model.causal:
        raise CodecError("this model needs the whole recording and cannot stream; use a causal one")
    if isinstance(batch, bool) or not hasattr(batch, "__index__") or batch < 1:
        raise CodecError(f"a stream of {batch!r} signals; batch must be 1 or more")


def same(values: Sequence[Any]) -> bool:
    """Whether all slots have one value."""
    return all(value == values[0] for value in values)
