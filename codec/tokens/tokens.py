"""Tokens in memory: the codes and what is needed to make sound of them again."""

from dataclasses import dataclass, replace

from torch import Tensor

from codec.errors import CodecError


@dataclass(frozen=True)
class Tokens:
    """Codes of a batch of clips.

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

    def __getitem__(self, index: int) -> "Tokens":
        """One clip as a batch of one, cut to its own length."""
        length = int(self.lengths[index])
        one = slice(index, index + 1) if index != -1 else slice(index, None)
        return replace(
            self,
            codes=self.codes[one, :, :length],
            lengths=self.lengths[one],
            num_samples=self.num_samples[one],
        )

    @property
    def num_codebooks(self) -> int:
        return self.codes.shape[1]

    def first(self, num_codebooks: int) -> "Tokens":
        """Only the first layers: a lower bitrate of the same clips."""
        if not 1 <= num_codebooks <= self.num_codebooks:
            raise CodecError(
                f"{num_codebooks} codebooks asked for; these tokens have 1 to {self.num_codebooks}"
            )
        return replace(self, codes=self.codes[:, :num_codebooks])
