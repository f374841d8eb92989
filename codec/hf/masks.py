"""Padded batches of the library transformers: which samples and frames are of a clip."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from codec.errors import CodecError


@dataclass
class Spans:
    """Where each clip lies in a batch of ``width`` samples.

    Attributes:
        starts: the first sample of each clip.
        counts: its number of samples, at least 1.
        width: samples of the batch.
    """

    starts: list[int]
    counts: list[int]
    width: int

    def gather(self, wav: Tensor) -> Tensor:
        """``(B, width)`` to ``(B, longest)``: every clip from the first column on, then zeros."""
        clips = zip(wav, self.starts, self.counts, strict=True)
        return pad_sequence([clip[start : start + count] for clip, start, count in clips], batch_first=True)

    def to_the_end(self, rows: Tensor, lengths: list[int]) -> Tensor:
        """Rows ``(B, ..., T)`` that are valid up to ``lengths``; those of clips padded on the left are moved right."""
        left = [start > 0 for start in self.starts]
        if not any(left):
            return rows
        width = rows.shape[-1]
        moved = [
            F.pad(row[..., :length], (width - length, 0)) if is_left else row
            for row, length, is_left in zip(rows, lengths, left, strict=True)
        ]
        return torch.stack(moved)


def spans_of(mask: Tensor | None, batch: int, width: int) -> Spans:
    """The clips of a batch by its padding mask; all of it without one.

    Args:
        mask: ``(B, S)`` or ``(B, 1, S)``, 1 or true where a sample is of the clip.

    Raises:
        CodecError: for a mask of another shape, an empty clip, or padding between samples of a clip.
    """
    if mask is None:
        return Spans([0] * batch, [width] * batch, width)
    inside = rows_of(mask, "padding_mask").cpu() != 0
    if inside.shape != (batch, width):
        raise CodecError(f"padding_mask of shape {tuple(mask.shape)} does not fit {batch} clips of {width} samples")
    counts = inside.sum(dim=1)
    if int(counts.min()) < 1:
        raise CodecError(f"clip {int(counts.argmin())} has no samples in padding_mask; leave it out of the batch")
    starts = inside.int().argmax(dim=1)
    ends = width - inside.flip(1).int().argmax(dim=1)
    if not torch.equal(ends - starts, counts):
        raise CodecError("padding_mask has holes; a clip's samples must follow each other")
    if bool(((starts > 0) & (ends < width)).any()):
        raise CodecError("padding_mask has padding on both sides of a clip; pad on one side")
    return Spans(starts.tolist(), counts.tolist(), width)


def without_padding(mask: Tensor, frames: int, hop: int) -> Tensor:
    """``(B, S)`` of the audio that codes stand for: these have no frames for padding that all clips of a batch have.

    Args:
        mask: of the batch that was encoded, as for :func:`spans_of`.
        frames: of the codes; of codes that were cut, the mask keeps all frames of the longest clip.
        hop: samples of a frame.

    Raises:
        CodecError: as :func:`spans_of`.
    """
    rows = rows_of(mask, "padding_mask")
    spans = spans_of(rows, *rows.shape)
    width = max(frames, -(-max(spans.counts) // hop)) * hop
    shifts = [-max(0, spans.width - width) if start else 0 for start in spans.starts]
    return torch.stack([row.roll(shift) for row, shift in zip(rows, shifts, strict=True)])[:, :width]


def rows_of(values: Tensor, what: str) -> Tensor:
    """``(B, S)`` of ``(B, 1, S)`` or ``(B, S)``.

    Raises:
        CodecError: for several channels or another shape.
    """
    if values.ndim == 3 and values.shape[1] == 1:
        return values[:, 0]
    if values.ndim != 2:
        raise CodecError(f"{what} must be mono, (B, 1, S) or (B, S); got shape {tuple(values.shape)}")
    return values


def frame_mask(lengths: Tensor, width: int, side: str = "right") -> Tensor:
    """``(B, width)`` bool: the first ``lengths`` frames of each row, or the last with ``side="left"``."""
    if side not in ("right", "left"):
        raise CodecError(f"padding_side is {side!r}; choose right or left")
    mask = torch.arange(width, device=lengths.device) < lengths.unsqueeze(1)
    return mask if side == "right" else mask.flip(1)
