"""Cutting long audio at its quiet places, on a teacher's frame grid, so that pieces stitch exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor

SEARCH = 1 / 3
"""Part of a window, at its end, in which the quietest place is looked for."""


@dataclass(frozen=True)
class Window:
    """Samples ``start`` to ``stop`` of a clip; ``start`` is a multiple of the teacher's stride."""

    start: int
    stop: int


def cut_at_silence(wav: Tensor, stride: int, max_samples: int) -> list[Window]:
    """Windows of at most ``max_samples`` that cover ``wav (T,)`` without gap or overlap.

    Each cut lies on the quietest frame (``stride`` samples, smoothed over five) in the last third of
    what fits: at a pause when there is one.
    """
    total, limit = len(wav), max_samples // stride
    num_frames = -(-total // stride)
    if num_frames <= limit:
        return [Window(0, total)]
    padded = torch.nn.functional.pad(wav.double(), (0, num_frames * stride - total))
    energy = padded.reshape(num_frames, stride).square().mean(dim=1)
    smooth = torch.nn.functional.avg_pool1d(energy[None, None], 5, 1, 2, count_include_pad=False)[0, 0]
    windows, start = [], 0
    while num_frames - start > limit:
        first = start + max(1, round(limit * (1 - SEARCH)))
        cut = first + int(smooth[first : start + limit + 1].argmin())
        windows.append(Window(start * stride, cut * stride))
        start = cut
    return [*windows, Window(start * stride, total)]
