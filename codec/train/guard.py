"""Stops a run at the first loss that is no finite number, and says which."""

import torch
from torch import Tensor

from codec.errors import CodecError


class FiniteGuard:
    """Remembers, on the device and without waiting for it, in which step each value went bad."""

    def __init__(self) -> None:
        self._first_bad: dict[tuple[str, ...], Tensor] = {}

    def watch(self, values: dict[str, Tensor], step: int) -> None:
        """Take in the scalars of a step."""
        names = tuple(values)
        bad = ~torch.isfinite(torch.stack([value.detach().float() for value in values.values()]))
        first = self._first_bad.setdefault(names, torch.full_like(bad, -1, dtype=torch.int64))
        self._first_bad[names] = torch.where((first < 0) & bad, step, first)

    def check(self) -> None:
        """Raise when any value went bad; waits for the device.

        Raises:
            CodecError: with the names that went bad first, and the step.
        """
        found: dict[int, list[str]] = {}
        for names, first in self._first_bad.items():
            for name, step in zip(names, first.tolist(), strict=True):
                if step >= 0:
                    found.setdefault(step, []).append(name)
        if found:
            step = min(found)
            raise CodecError(
                f"step {step}: {', '.join(sorted(set(found[step])))} became NaN or infinite; the last "
                "checkpoint is from before. Resume with a lower optimizer.lr or optimizer.clip, or "
                "look at the data of this step"
            )
