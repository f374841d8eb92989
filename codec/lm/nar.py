"""The second stage of VALL-E (Wang et al. 2023, section 4.2.2): each further codebook for all frames at once."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.lm.base import IGNORED, code_bits
from codec.lm.config import SizeConfig
from codec.lm.pieces import Piece

_SHORTEST = 10
"""Frames that are filled at once at least, in training."""


class NarModule(nn.Module):
    """Codebook q of some frames from the text, the codebooks before q, and all codebooks of the frames before.

    A bidirectional transformer over text and frames. Frames after the window are not seen, so that speech can
    be filled in while it is still being written.

    With ``aligned``, text is ``(B, T)``, the symbol that each frame speaks, and is added to the frames that are
    not known.
    """

    def __init__(self, size: SizeConfig, characters: int, widths: Sequence[int], aligned: bool = False):
        super().__init__()
        self.aligned = aligned
        self.text = nn.Embedding(characters, size.dim)
        self.codes = nn.ModuleList(nn.Embedding(width, size.dim) for width in widths)
        self.level = nn.Embedding(len(widths), size.dim)
        self.heads = nn.ModuleList(nn.Linear(size.dim, width) for width in widths[1:])
        layer = nn.TransformerEncoderLayer(
            size.dim, size.heads, size.feed_forward, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, size.layers, nn.LayerNorm(size.dim), enable_nested_tensor=False)
        for table in (self.text, *self.codes, self.level):
            nn.init.normal_(table.weight, std=0.1)

    def logits(self, text: Tensor, text_mask: Tensor, codes: Tensor, level: int, seen: Tensor, known: Tensor) -> Tensor:
        """``(B, T, V)`` for codebook ``level``, 1 or more.

        Args:
            text: ``(B, L)`` characters.
            text_mask: ``(B, L)``, 1 where there are some.
            codes: ``(B, K, T)``; those of ``level`` and above are read in known frames only.
            seen: ``(B, T)`` bool: frames that may be looked at.
            known: ``(B, T)`` bool: frames whose codebooks are all there.
        """
        frames = sum(table(codes[:, q]) for q, table in enumerate(self.codes) if q < level)
        rest = sum(table(codes[:, q]) for q, table in enumerate(self.codes) if q >= level)
        frames = frames + known.unsqueeze(2) * rest
        dim = self.level.weight.shape[1]
        if self.aligned:
            # What a prompt says need not be known.
            spoken = self.text(text.masked_fill(known, self.text.num_embeddings - 1))
            frames = frames + spoken + positions(codes.shape[2], dim).to(text.device) + self.level.weight[level]
            return self.heads[level - 1](self.layers(frames, src_key_padding_mask=~seen))
        parts = [self.text(text) + positions(text.shape[1], dim).to(text.device)]
        parts.append(frames + positions(codes.shape[2], dim).to(text.device) + self.level.weight[level])
        hidden = torch.cat(parts, dim=1)
        unseen = torch.cat([text_mask == 0, ~seen], dim=1)
        return self.heads[level - 1](self.layers(hidden, src_key_padding_mask=unseen)[:, text.shape[1] :])

    def forward(self, text: Tensor, text_mask: Tensor, codes: Tensor, lengths: Tensor) -> Tensor:
        """Loss of one codebook, drawn at random, in a random window of each clip of ``lengths (B,)`` frames."""
        level = int(torch.randint(1, len(self.codes), ()))
        shares = torch.rand(2, len(lengths)).to(lengths.device)
        first = (shares[0] * shares[0] * lengths).long()
        last = torch.minimum(lengths, first + _SHORTEST + (shares[1] * 2 * lengths).long())
        time = torch.arange(codes.shape[2], device=codes.device)
        known, seen = time < first.unsqueeze(1), time < last.unsqueeze(1)
        logits = self.logits(text, text_mask, codes, level, seen, known)
        targets = codes[:, level].masked_fill(known | ~seen, IGNORED)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)

    def bits(self, text: Tensor, text_mask: Tensor, codes: Tensor, pieces: Sequence[Piece]) -> list[Tensor]:
        """Bits ``(B,)`` of each codebook but the first, given those before; ``codes`` are the padded pieces."""
        lengths = torch.tensor([piece.codes.shape[1] for piece in pieces], device=codes.device)
        seen = torch.arange(codes.shape[2], device=codes.device) < lengths.unsqueeze(1)
        columns = []
        for level in range(1, len(self.codes)):
            found = self.logits(text, text_mask, codes, level, seen, torch.zeros_like(seen)).cpu()
            rows = [code_bits(row[: p.codes.shape[1]], p.codes[level]) for row, p in zip(found, pieces, strict=True)]
            columns.append(torch.stack(rows))
        return columns

    @torch.inference_mode()
    def fill(self, text: Tensor, codes: Tensor, known: int) -> Tensor:
        """Codes ``(K, T)`` whose first codebook is there, and all of the first ``known`` frames; the others filled.

        The most probable code each time, as VALL-E does.
        """
        codes, time = codes.clone().unsqueeze(0), torch.arange(codes.shape[1], device=codes.device)
        mask = torch.ones_like(text).unsqueeze(0)
        before, seen = (time < known).unsqueeze(0), (time >= 0).unsqueeze(0)
        for level in range(1, len(self.codes)):
            found = self.logits(text.unsqueeze(0), mask, codes, level, seen, before).argmax(2)
            codes[:, level] = torch.where(before, codes[:, level], found)
        return codes[0]


def in_windows(
    drawn: Iterable[int], codes: Tensor, window: int, fill: Callable[[Tensor, int], Tensor]
) -> Iterator[Tensor]:
    """New frames ``(K, n)``, as soon as a window of them has its codebook 1; with a window of 0 all at the end.

    Args:
        drawn: codebook 1 of the frames that follow.
        codes: ``(K, T)`` of the prompt.
        fill: all codes with those of the last frames filled in, given how many frames these are.
    """
    waiting = 0
    for code in drawn:
        frame = torch.zeros(len(codes), 1, dtype=torch.int64)
        frame[0] = code
        codes, waiting = torch.cat([codes, frame], dim=1), waiting + 1
        if waiting == window:
            codes, waiting = fill(codes, waiting), 0
            yield codes[:, -window:]
    if waiting:
        yield fill(codes, waiting)[:, -waiting:]


def positions(length: int, dim: int) -> Tensor:
    """``(length, dim)`` sines and cosines (Vaswani et al. 2017, section 3.5), a tenth as large."""
    angles = torch.arange(length).unsqueeze(1) * torch.exp(torch.arange(0, dim, 2) * (-math.log(10_000.0) / dim))
    return 0.1 * torch.cat([angles.sin(), angles.cos()], dim=1)
