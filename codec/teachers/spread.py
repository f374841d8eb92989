"""Sub-word states on frames: which row of a clip's states each frame has."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.align.types import Interval


@dataclass(frozen=True)
class FrameRows:
    """Attributes:
    index: ``(T,)`` int64, row of each frame; never falls, so that crops read one slice.
    mask: ``(T,)`` bool, true inside words.
    """

    index: Tensor
    mask: Tensor


def spread_words(
    words: Sequence[Interval], rows: Sequence[range], num_frames: int, rate: float, offset: float
) -> FrameRows:
    """Give each word's frames to its sub-words, in equal parts.

    A frame belongs to the word that is spoken at its centre; a word too short for any centre gets the
    nearest frame, if that is free. Frames outside all words are masked.

    Args:
        words: in order, with times in seconds.
        rows: of each word, its sub-words' rows, rising from word to word.
        num_frames: T.
        rate: frames per second.
        offset: seconds of frame 0's centre.
    """
    index = torch.zeros(num_frames, dtype=torch.int64)
    mask = torch.zeros(num_frames, dtype=torch.bool)
    centres = offset + torch.arange(num_frames, dtype=torch.float64) / rate
    for word, word_rows in zip(words, rows, strict=True):
        if not word_rows:
            continue
        frames = torch.nonzero((centres >= word.start) & (centres < word.end) & ~mask)[:, 0]
        if not len(frames):
            nearest = round(((word.start + word.end) / 2 - offset) * rate)
            if not 0 <= nearest < num_frames or mask[nearest]:
                continue
            frames = torch.tensor([nearest])
        part = torch.arange(len(frames)) * len(word_rows) // len(frames)
        index[frames] = word_rows.start + part
        mask[frames] = True
    index[~mask] = 0
    return FrameRows(index.cummax(dim=0).values if num_frames else index, mask)
