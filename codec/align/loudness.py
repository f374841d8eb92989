"""Taking the silence off the edges of words that a model timed loosely."""

from collections.abc import Sequence

import torch
from torch import Tensor

from codec.align.words import Word

STEP = 0.01
"""Seconds a loudness frame."""


def tighten(words: Sequence[Word], wav: Tensor, sample_rate: int, floor_db: float = 35.0) -> list[Word]:
    """Move each word's edges inwards to its first and last loud frame.

    Times from cross-attention start a sentence's first word at 0 and end its last one with the clip.
    A frame is loud when it is at most ``floor_db`` below the clip's 95th percentile. Words without
    any loud frame stay as they are.

    Args:
        wav: ``(T,)``.
    """
    size = round(STEP * sample_rate)
    count = len(wav) // size
    if count == 0:
        return list(words)
    level = 10 * torch.log10(wav[: count * size].reshape(count, size).square().mean(dim=1) + 1e-12)
    loud = level >= torch.quantile(level, 0.95) - floor_db
    result = []
    for word in words:
        first, last = int(word.start / STEP), min(count, round(word.end / STEP))
        active = torch.nonzero(loud[first:last])[:, 0]
        if len(active):
            start = max(word.start, (first + int(active[0])) * STEP)
            end = min(word.end, (first + int(active[-1]) + 1) * STEP)
            word = Word(word.text, start, max(start, end))
        result.append(word)
    return result
