"""The content of a token file: one clip's codes and all that a reader without the model needs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.quantizers.base import bits_per_code
from codec.tokens.tokens import Tokens


@dataclass(frozen=True)
class TokenClip:
    """Tokens of one clip, checked on construction.

    Attributes:
        codes: ``(K, T)`` int64, each in ``0 .. codebook_size - 1``.
        num_samples: samples of the clip at ``sample_rate``; ``T = ceil(num_samples / hop_length)``.
        sample_rate: Hz of the model.
        hop_length: samples per frame.
        codebook_size: entries of each codebook, or of the largest.
        fingerprint: of the model that made the codes.
        codec_version: version of this package that made the codes.
        codebook_sizes: entries of each codebook, where they differ; else empty.
    """

    codes: Tensor
    num_samples: int
    sample_rate: int
    hop_length: int
    codebook_size: int
    fingerprint: str
    codec_version: str
    codebook_sizes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("num_samples", "sample_rate", "hop_length", "codebook_size"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise CodecError(f"{name} must be a whole number above 0, got {value!r}")
        for name in ("fingerprint", "codec_version"):
            if not isinstance(getattr(self, name), str):
                raise CodecError(f"{name} must be a string, got {getattr(self, name)!r}")
        self._check_sizes()
        self._check_codes()

    def _check_sizes(self) -> None:
        sizes = self.codebook_sizes
        if not sizes:
            return
        if not isinstance(sizes, tuple) or not all(type(size) is int and size > 0 for size in sizes):
            raise CodecError(f"codebook_sizes must be whole numbers above 0, got {sizes!r}")
        if max(sizes) != self.codebook_size or len(set(sizes)) == 1:
            raise CodecError(f"codebook_sizes {list(sizes)} do not fit codebook_size {self.codebook_size}")

    def _check_codes(self) -> None:
        codes = self.codes
        if not isinstance(codes, Tensor) or codes.ndim != 2 or codes.dtype != torch.int64:
            shape = f"{codes.dtype} {tuple(codes.shape)}" if isinstance(codes, Tensor) else repr(codes)
            raise CodecError(f"codes must be an int64 tensor (K, T), got {shape}")
        frames = -(-self.num_samples // self.hop_length)
        if codes.shape[0] < 1 or codes.shape[1] != frames:
            raise CodecError(
                f"{self.num_samples} samples are {frames} frames of {self.hop_length}, "
                f"but the codes have shape {tuple(codes.shape)}"
            )
        if self.codebook_sizes and len(self.codebook_sizes) != len(codes):
            raise CodecError(f"{len(codes)} layers of codes, but {len(self.codebook_sizes)} codebook_sizes")
        for layer, size in zip(codes if self.codebook_sizes else [codes], self.layer_sizes, strict=False):
            low, high = (int(limit) for limit in layer.aminmax())
            if low < 0 or high >= size:
                wrong = low if low < 0 else high
                raise CodecError(f"code {wrong} is out of range; codes lie in 0..{size - 1}")

    @property
    def num_codebooks(self) -> int:
        return self.codes.shape[0]

    @property
    def num_frames(self) -> int:
        return self.codes.shape[1]

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return self.codebook_sizes or (self.codebook_size,) * self.num_codebooks

    @property
    def bits_per_frame(self) -> int:
        """Bits of a frame's codes."""
        return sum(bits_per_code(size) for size in self.layer_sizes)

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    @property
    def bitrate(self) -> float:
        """Bits per second of raw codes."""
        return self.bits_per_frame * self.sample_rate / self.hop_length

    def to_tokens(self) -> Tokens:
        """Convert to a batch of one."""
        return Tokens(
            codes=self.codes.unsqueeze(0),
            lengths=torch.tensor([self.num_frames], device="cpu"),
            num_samples=torch.tensor([self.num_samples], device="cpu"),
            sample_rate=self.sample_rate,
            fingerprint=self.fingerprint,
        )
