"""Tokens in memory: the codes and what is needed to decode them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from codec.errors import CodecError


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes of a batch of clips.

    Two are equal when all of this is: codes, lengths and model.

    Attributes:
        codes: ``(B, K, T)`` int64; K codebook layers, T frames, zeros after a clip's end.
        lengths: ``(B,)`` int64, frames of each clip.
        num_samples: ``(B,)`` int64, samples of each clip at ``sample_rate``; decoding returns as many.
        sample_rate: Hz of the model.
        fingerprint: of the encoder and quantizer that made the codes.
    """

    codes: Tensor
    lengths: Tensor
    num_samples: Tensor
    sample_rate: int
    fingerprint: str

    def __post_init__(self) -> None:
        if self.codes.ndim != 3:
            raise CodecError(f"codes must be (B, K, T), got shape {tuple(self.codes.shape)}")
        batch = self.codes.shape[0]
        if self.lengths.shape != (batch,) or self.num_samples.shape != (batch,):
            raise CodecError(
                f"lengths and num_samples must be ({batch},), got "
                f"{tuple(self.lengths.shape)} and {tuple(self.num_samples.shape)}"
            )

    def __len__(self) -> int:
        return self.codes.shape[0]

    def __iter__(self) -> Iterator["Tokens"]:
        """Each clip as a batch of one."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: int | slice) -> "Tokens":
        """One clip as a batch of one, or some, cut to the longest of them."""
        if isinstance(index, slice):
            rows = index
        else:
            # Out of range raises an IndexError, as of a list.
            row = range(len(self))[index]
            rows = slice(row, row + 1)
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        return replace(
            self,
            codes=self.codes[rows, :, :longest],
            lengths=lengths,
            num_samples=self.num_samples[rows],
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tokens):
            return NotImplemented
        return (self.sample_rate, self.fingerprint) == (other.sample_rate, other.fingerprint) and all(
            torch.equal(ours, theirs)
            for ours, theirs in (
                (self.codes, other.codes),
                (self.lengths, other.lengths),
                (self.num_samples, other.num_samples),
            )
        )

    # What is compared by its content, which can change, has no hash.
    __hash__ = None  # type: ignore[assignment]

    @property
    def num_codebooks(self) -> int:
        return self.codes.shape[1]

    def first(self, num_codebooks: int) -> "Tokens":
        """Keep only the first layers: a lower bitrate of the same clips."""
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise CodecError(
                f"{num_codebooks} codebooks requested; these tokens have 1 to {self.num_codebooks}"
            )
        return replace(self, codes=self.codes[:, :num_codebooks])

    def map(self, function: Callable[[Tensor], Tensor]) -> "Tokens":
        """The tokens with ``function`` applied to each of their tensors."""
        return replace(
            self,
            codes=function(self.codes),
            lengths=function(self.lengths),
            num_samples=function(self.num_samples),
        )
