"""Steps whose every kernel sees one fixed shape, so that rounding cannot depend on the chunking.

Frames are computed in blocks of ``BLOCK_FRAMES``, aligned to the start of their signal, one signal
at a time. A block that is not complete yet is computed from the state before it, with silence in
place of the frames to come, which a causal network does not look at. A frame is thus always
computed by the same operations on the same shapes at the same place, offline as in a stream::

    frames so far   0 1 2 3 | 4 5          block of 4
    computed        0 1 2 3 | 4 5 . .      from the state after frame 3; 4 and 5 are handed out
    next frame      0 1 2 3 | 4 5 6 .      from the same state again; 6 is handed out
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codec.model.steps import StepFunction, Steps
from codec.quantizers import ABSENT

BLOCK_FRAMES = 8


class BlockedSteps(Steps):
    """:class:`codec.model.steps.Steps` in fixed blocks: slower offline, equal to the last bit."""

    block_frames = BLOCK_FRAMES

    def __init__(self, function: StepFunction, batch: int, unit: int, min_rows: int = 1):
        super().__init__(function, batch, unit, min_rows)
        # What the open block of each signal has received: (..., frames * unit).
        self._open: list[Tensor | None] = [None] * batch

    def run(self, x: Tensor, rows: Sequence[int] | None = None) -> Tensor:
        """The next frames of some signals, or of all, in the order of ``rows``."""
        rows = range(self.states.batch) if rows is None else rows
        return torch.stack([self._run_one(row, signal) for row, signal in zip(rows, x, strict=True)])

    def run_end(self, x: Tensor, row: int) -> Tensor:
        """The end of a signal, with what its open block has received: all that is left of it, so unpadded."""
        if not x.is_floating_point():
            # Codes that are absent after the last are silence, as in any other block.
            return self.run(x, [row])
        opened = self._open[row]
        block = x if opened is None else torch.cat([opened.unsqueeze(0), x], dim=-1)
        output, _ = self.end_function(block, self.states.take([row]))
        known, frames = (-(-length // self.unit) for length in (block.shape[-1] - x.shape[-1], block.shape[-1]))
        return output[..., known * (output.shape[-1] // frames) :]

    def reset(self, rows: Sequence[int]) -> None:
        super().reset(rows)
        for row in rows:
            self._open[row] = None

    def state_dict(self) -> dict[str, Tensor]:
        opened = {f"open.{row}": x.clone().cpu() for row, x in enumerate(self._open) if x is not None}
        return super().state_dict() | opened

    def load_state_dict(self, saved: dict[str, Tensor], silence: Tensor) -> None:
        states = {name: tensor for name, tensor in saved.items() if not name.startswith("open.")}
        super().load_state_dict(states, silence)
        opened = [saved.get(f"open.{row}") for row in range(self.states.batch)]
        self._open = [x.to(silence.device, copy=True) if x is not None else None for x in opened]

    def _run_one(self, row: int, x: Tensor) -> Tensor:
        outputs = []
        size = BLOCK_FRAMES * self.unit
        while x.shape[-1]:
            opened = self._open[row]
            known = opened if opened is not None else x[..., :0]
            room = size - known.shape[-1]
            block = torch.cat([known, x[..., :room]], dim=-1)
            x = x[..., room:]
            first, last = (part.shape[-1] // self.unit for part in (known, block))
            # Codes that are absent, not the codes 0: a first frame may look at a few of those to come.
            silence = 0 if block.is_floating_point() else ABSENT
            padded = block.new_full((1, *block.shape[:-1], size), silence)
            padded[0, ..., : block.shape[-1]] = block
            output, state = self.function(padded, self.states.take([row]))
            unit = output.shape[-1] // BLOCK_FRAMES
            outputs.append(output[0, ..., first * unit : last * unit])
            if last == BLOCK_FRAMES:
                self.states.put(state, [row])
            self._open[row] = None if last == BLOCK_FRAMES else block
        return torch.cat(outputs, dim=-1)
