"""Tokens: codes, and what is needed to decode them and to keep them in a file."""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.quantizers.base import bits_per_code, codebook_count
from codec.version import __version__


@dataclass(frozen=True, eq=False)
class Tokens:
    """Codes of a batch of clips; a file holds a batch of one.

    Two are equal when all of this is: codes, lengths and model.

    Attributes:
        codes: ``(B, K, T)`` int64; K codebook layers, T frames, zeros after a clip's end.
        lengths: ``(B,)`` int64, frames of each clip.
        num_samples: ``(B,)`` int64, samples of each clip at ``sample_rate``; decoding returns as many.
        sample_rate: Hz of the model.
        fingerprint: of the encoder and quantizer that made the codes.
        hop_length: samples per frame; a clip has ``ceil(num_samples / hop_length)`` frames.
        codebook_sizes: entries of each of the K codebooks.
        codec_version: version of this package that made the codes.
    """

    codes: Tensor
    lengths: Tensor
    num_samples: Tensor
    sample_rate: int
    fingerprint: str
    hop_length: int
    codebook_sizes: tuple[int, ...]
    codec_version: str = field(default=__version__, kw_only=True)

    def __post_init__(self) -> None:
        tensors = (self.codes, self.lengths, self.num_samples)
        if not all(isinstance(tensor, Tensor) for tensor in tensors):
            found = ", ".join(type(tensor).__name__ for tensor in tensors)
            raise CodecError(f"codes, lengths and num_samples must be tensors, got {found}")
        if self.codes.ndim != 3:
            raise CodecError(f"codes must be (B, K, T), got shape {tuple(self.codes.shape)}")
        batch, layers, _ = self.codes.shape
        if self.lengths.shape != (batch,) or self.num_samples.shape != (batch,):
            raise CodecError(
                f"lengths and num_samples must be ({batch},), got "
                f"{tuple(self.lengths.shape)} and {tuple(self.num_samples.shape)}"
            )
        if len(self.codebook_sizes) != layers:
            raise CodecError(f"{layers} layers of codes, but {len(self.codebook_sizes)} codebook_sizes")

    @classmethod
    def joined(cls, parts: "Sequence[Tokens]") -> "Tokens":
        """One batch of all clips of several tokens.

        Raises:
            CodecError: when there are none, or they are of different models or numbers of codebooks.
        """
        if not parts:
            raise CodecError("no tokens; give at least one clip")
        models = {(part.fingerprint, part.sample_rate, part.hop_length) for part in parts}
        if len(models) > 1:
            names = ", ".join(sorted(name for name, _, _ in models))
            raise CodecError(f"tokens of different models ({names}); decode them apart")
        counts = {part.num_codebooks for part in parts}
        if len(counts) > 1:
            raise CodecError(f"tokens of {sorted(counts)} codebooks; give the same layers of all")
        frames_first = [clip.t() for part in parts for clip in part.codes]
        return replace(
            parts[0],
            codes=torch.nn.utils.rnn.pad_sequence(frames_first, batch_first=True).transpose(1, 2),
            lengths=torch.cat([part.lengths for part in parts]),
            num_samples=torch.cat([part.num_samples for part in parts]),
        )

    def __len__(self) -> int:
        return self.codes.shape[0]

    def __iter__(self) -> Iterator["Tokens"]:
        """Each clip as a batch of one."""
        return (self[row] for row in range(len(self)))

    def __getitem__(self, index: Any) -> "Tokens":
        """One clip as a batch of one, or some, cut to the longest of them.

        Args:
            index: a number, a slice, or a list, array or mask of clips.

        Raises:
            IndexError: for a clip that is not there.
            TypeError: for another index.
        """
        rows = self._rows(index)
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        return replace(
            self,
            codes=self.codes[rows, :, :longest],
            lengths=lengths,
            num_samples=self.num_samples[rows],
        )

    def _rows(self, index: Any) -> slice | Tensor:
        if isinstance(index, slice):
            return index
        try:
            # Out of range raises an IndexError, as of a list.
            row = range(len(self))[operator.index(index)]
            return slice(row, row + 1)
        except TypeError:
            pass
        try:
            rows = torch.as_tensor(index, device="cpu")
        except (TypeError, ValueError, RuntimeError):
            rows = torch.zeros(())
        if rows.ndim != 1 or (len(rows) and (rows.is_floating_point() or rows.is_complex())):
            raise TypeError(
                f"tokens are indexed by a number, a slice or a list of clips, not {type(index).__name__}"
            )
        # An empty list has no type of its own, and unsigned bytes would be a mask.
        return torch.arange(len(self))[rows if rows.dtype == torch.bool else rows.long()]

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

    @property
    def bits_per_frame(self) -> int:
        """Bits of a frame's codes."""
        return sum(bits_per_code(size) for size in self.codebook_sizes)

    @property
    def bitrate(self) -> float:
        """Bits per second of raw codes."""
        return self.bits_per_frame * self.sample_rate / self.hop_length

    def first(self, num_codebooks: int) -> "Tokens":
        """Only the first layers: a lower bitrate of the same clips.

        Raises:
            CodecError: when there is no such number of layers.
        """
        count = codebook_count(num_codebooks, self.num_codebooks, "these tokens have")
        return replace(self, codes=self.codes[:, :count], codebook_sizes=self.codebook_sizes[:count])

    def map(self, function: Callable[[Tensor], Tensor]) -> "Tokens":
        """The tokens with ``function`` applied to each of their tensors."""
        return replace(
            self,
            codes=function(self.codes),
            lengths=function(self.lengths),
            num_samples=function(self.num_samples),
        )
