"""When each symbol of a text is spoken, learned from tokens alone.

A left-to-right hidden Markov model, one state a symbol, whose emissions are the codes of codebook 1; trained by
Viterbi's approximation of EM from an even division of each clip (Rabiner 1989, section V). It needs no other model,
and no audio.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

_AT_ONCE = 64
"""Clips that are aligned at once."""
_SMOOTHING = 0.05
"""Added to the count of each symbol with each code, in units of the code's share."""


class Aligner:
    """Costs of codes under symbols, and the best path of a clip.

    Attributes:
        costs: ``(S, V)`` float32: ``-log p(code | symbol)``.
        optional: ``(S,)`` bool: symbols that may take no frame.
    """

    def __init__(self, costs: Tensor, optional: Tensor):
        self.costs, self.optional = costs, optional

    @classmethod
    def train(
        cls, texts: Sequence[Tensor], codes: Sequence[Tensor], size: int, optional: Tensor, rounds: int = 12
    ) -> "Aligner":
        """From symbols ``(L,)`` and codes ``(T,)`` of each clip.

        Args:
            size: entries of the codebook.
        """
        found = [even(len(text), len(row)) for text, row in zip(texts, codes, strict=True)]
        aligner = cls._count(texts, codes, found, size, optional)
        for _ in range(rounds):
            found = aligner.durations(texts, codes)
            aligner = cls._count(texts, codes, found, size, optional)
        return aligner

    @classmethod
    def _count(
        cls, texts: Sequence[Tensor], codes: Sequence[Tensor], found: Sequence[Tensor], size: int, optional: Tensor
    ) -> "Aligner":
        counts = torch.zeros(len(optional) * size)
        for text, row, frames in zip(texts, codes, found, strict=True):
            if int(frames.sum()) == len(row):
                counts += torch.bincount(text.repeat_interleave(frames) * size + row, minlength=len(counts))
        counts = counts.view(len(optional), size)
        share = (counts.sum(0) + 1) / (counts.sum() + size)
        counts = counts + _SMOOTHING * size * share
        return cls(-(counts / counts.sum(1, keepdim=True)).log(), optional)

    def durations(self, texts: Sequence[Tensor], codes: Sequence[Tensor]) -> list[Tensor]:
        """Frames ``(L,)`` of each symbol, which add up to the clip's; all 0 where a clip is too short."""
        order = sorted(range(len(codes)), key=lambda i: len(codes[i]))
        found: dict[int, Tensor] = {}
        for first in range(0, len(order), _AT_ONCE):
            part = order[first : first + _AT_ONCE]
            paths = self._viterbi([texts[i] for i in part], [codes[i] for i in part])
            found.update(zip(part, paths, strict=True))
        return [found[i] for i in range(len(codes))]

    def _viterbi(self, texts: Sequence[Tensor], codes: Sequence[Tensor]) -> list[Tensor]:
        text = nn.utils.rnn.pad_sequence(list(texts), batch_first=True)
        row = nn.utils.rnn.pad_sequence(list(codes), batch_first=True)
        # A step of 2 passes over an optional symbol.
        passable = torch.zeros_like(text, dtype=torch.bool)
        passable[:, 2:] = self.optional[text[:, 1:-1]]
        infinite = torch.full((len(text), 2), float("inf"))
        best = torch.full(text.shape, float("inf"))
        best[:, 0] = self.costs[text[:, 0], row[:, 0]]
        if text.shape[1] > 1:
            leads = self.optional[text[:, 0]]
            best[:, 1] = torch.where(leads, self.costs[text[:, 1], row[:, 0]], best[:, 1])
        steps, rows = [torch.zeros_like(text)], [best]
        for time in range(1, row.shape[1]):
            ahead = torch.cat([infinite, best], dim=1)
            two = ahead[:, :-2].masked_fill(~passable, float("inf"))
            best, step = torch.stack([best, ahead[:, 1:-1], two]).min(0)
            best = best + self.costs[text, row[:, time : time + 1]]
            steps.append(step)
            rows.append(best)
        moves = torch.stack(steps, dim=1).numpy()
        return [
            _trace(moves[i, : len(own)], rows[len(own) - 1][i, : len(said)], bool(self.optional[said[-1]]))
            for i, (own, said) in enumerate(zip(codes, texts, strict=True))
        ]


def _trace(moves: np.ndarray, last: Tensor, passable: bool) -> Tensor:
    """Frames ``(L,)`` of each symbol, from the moves ``(T, L)`` that led to each and the costs of the ends ``(L,)``.

    Args:
        passable: whether the last symbol may take no frame.
    """
    frames = np.zeros(len(last), np.int64)
    place = len(last) - 1
    if place and passable and last[place - 1] < last[place]:
        place -= 1
    if torch.isinf(last[place]):
        return torch.from_numpy(frames)
    for step in moves[::-1]:
        frames[place] += 1
        place -= step[place]
    return torch.from_numpy(frames)


def even(symbols: int, frames: int) -> Tensor:
    """``(symbols,)``: frames divided as evenly as they can be."""
    ends = torch.arange(symbols + 1) * frames // symbols
    return ends.diff()
