"""The ids that a codec's codes take in a language model's vocabulary."""

import bisect
import itertools
import operator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.tokens.tokens import Tokens

SPECIALS = ("start", "end", "pad", "sep")
"""Ids that follow those of the codes: begin and end of speech, filling, and the end of a semantic part."""


class TokenMaker(Protocol):
    """What has the facts of a vocabulary, as :class:`codec.model.codec.Codec` does."""

    sample_rate: int
    hop_length: int
    quantizer: Any

    @property
    def fingerprint(self) -> str: ...


@dataclass(frozen=True)
class AudioVocab:
    """The codes of one codec.

    Attributes:
        fingerprint: of the codec that makes the codes.
        sample_rate: Hz of the codec.
        hop_length: samples of a frame.
        codebook_sizes: entries of each of the K codebooks.
        base: first id of the audio in the language model's vocabulary.
    """

    fingerprint: str
    sample_rate: int
    hop_length: int
    codebook_sizes: tuple[int, ...]
    base: int = 0

    def __post_init__(self) -> None:
        if not self.codebook_sizes or any(type(size) is not int or size < 1 for size in self.codebook_sizes):
            raise CodecError(f"codebook_sizes must be whole numbers above 0, got {list(self.codebook_sizes)}")
        rate, hop = self.sample_rate, self.hop_length
        if rate < 1 or hop < 1:
            raise CodecError(f"sample_rate and hop_length must be above 0, got {rate} and {hop}")
        if type(self.base) is not int or self.base < 0:
            raise CodecError(f"base must be a whole number, 0 or more, got {self.base!r}")

    @classmethod
    def of(cls, source: "Tokens | TokenMaker", base: int = 0, num_codebooks: int | None = None) -> "AudioVocab":
        """The vocabulary of a model's tokens, or of their first codebooks.

        Raises:
            CodecError: when there is no such number of codebooks.
        """
        sizes = source.codebook_sizes if isinstance(source, Tokens) else source.quantizer.sizes
        count = len(sizes) if num_codebooks is None else num_codebooks
        if not 1 <= count <= len(sizes):
            raise CodecError(f"num_codebooks must be 1 to {len(sizes)}, got {count}")
        return cls(source.fingerprint, source.sample_rate, source.hop_length, tuple(sizes[:count]), base)

    @property
    def num_codebooks(self) -> int:
        return len(self.codebook_sizes)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    def check_fingerprint(self, found: str) -> None:
        """Raise a :class:`CodecError` unless the vocabulary is of the codec with this fingerprint."""
        if found != self.fingerprint:
            raise CodecError(
                f"the vocabulary is of codec {self.fingerprint}, the tokens are of {found}; "
                "use the codec of the vocabulary, or make a vocabulary of this one"
            )

    def read_codes(self, codes: Any) -> Tensor:
        """One clip's codes as ``(K, T)`` int64.

        Args:
            codes: ``(K, T)``, a tensor, an array or lists; or the tokens of one clip.

        Raises:
            CodecError: for another shape or type, codes out of range, or tokens of another codec.
        """
        if isinstance(codes, Tokens):
            self.check_fingerprint(codes.fingerprint)
            if len(codes) != 1:
                raise CodecError(f"a layout takes one clip, got {len(codes)}; give tokens[i]")
            codes = codes[0].codes[0]
        codes = _tensor(codes, "codes")
        if codes.ndim != 2:
            raise CodecError(f"codes must be (K, T), got shape {tuple(codes.shape)}; give one clip")
        if len(codes) != self.num_codebooks:
            raise CodecError(
                f"codes of {len(codes)} codebooks, the vocabulary has {self.num_codebooks}; "
                f"codes must be (K, T) = ({self.num_codebooks}, T)"
            )
        wrong = (codes < 0) | (codes >= torch.tensor(self.codebook_sizes).unsqueeze(1))
        if bool(wrong.any()):
            layer, frame = wrong.nonzero()[0].tolist()
            raise CodecError(
                f"code {int(codes[layer, frame])} of frame {frame} is out of range; "
                f"codes of codebook {layer} lie in 0..{self.codebook_sizes[layer] - 1}"
            )
        return codes


@dataclass(frozen=True)
class IdRange:
    """Consecutive ids: those of each layer one after the other, then the special ones.

    ``id = base + offsets[q] + c``; with K codebooks of V entries, ``base + q * V + c``.

    Attributes:
        base: the first id.
        widths: ids of each layer.
    """

    base: int
    widths: tuple[int, ...]

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Of each layer, and the end of the last one."""
        return tuple(itertools.accumulate(self.widths, initial=0))

    @property
    def size(self) -> int:
        """Ids in all."""
        return self.offsets[-1] + len(SPECIALS)

    @cached_property
    def specials(self) -> dict[str, int]:
        """Id of each special token."""
        return {name: self.base + self.offsets[-1] + i for i, name in enumerate(SPECIALS)}

    @cached_property
    def special_names(self) -> dict[int, str]:
        return {number: name for name, number in self.specials.items()}

    def locate(self, number: int) -> tuple[int, int]:
        """Layer and code of an id.

        Raises:
            CodecError: for an id that is no code's.
        """
        inside = number - self.base
        if not 0 <= inside < self.offsets[-1]:
            name = self.special_names.get(number)
            raise CodecError(
                f"id {number} is {'the special ' + name if name else 'out of range'}; "
                f"codes have the ids {self.base}..{self.base + self.offsets[-1] - 1}"
            )
        layer = bisect.bisect_right(self.offsets, inside) - 1
        return layer, inside - self.offsets[layer]

    def locate_all(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The same of many ids ``(N,)``: layers and codes, ``(N,)`` each."""
        inside = ids - self.base
        if len(ids) and (int(inside.min()) < 0 or int(inside.max()) >= self.offsets[-1]):
            self.locate(int(ids[((inside < 0) | (inside >= self.offsets[-1])).nonzero()[0]]))
        offsets = torch.tensor(self.offsets)
        layers = torch.bucketize(inside, offsets[1:], right=True)
        return layers, inside - offsets[layers]


def read_ids(ids: Any, dimensions: int = 1) -> Tensor:
    """Ids as int64.

    Raises:
        CodecError: for another shape or type.
    """
    tensor, shape = _tensor(ids, "ids"), "(N,)" if dimensions == 1 else "(steps, K)"
    if tensor.ndim != dimensions:
        raise CodecError(f"ids must be {shape}, got shape {tuple(tensor.shape)}; give one sequence")
    return tensor


def read_id(number: Any) -> int:
    """One id.

    Raises:
        CodecError: for what is no whole number.
    """
    try:
        return operator.index(number)
    except TypeError:
        raise CodecError(f"an id must be a whole number, got {number!r}") from None


def _tensor(values: Any, name: str) -> Tensor:
    """Whole numbers as an int64 tensor."""
    try:
        tensor = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        raise CodecError(f"{name} must be whole numbers in a tensor, an array or lists of one length") from None
    if tensor.numel() and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise CodecError(f"{name} must be whole numbers, got {tensor.dtype}")
    return tensor.to("cpu", torch.int64)
