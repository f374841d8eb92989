"""A first codebook apart from the others, each side with its own projections (Mimi, JHCodec)."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.quantizers.base import Quantizer, Step, quantizer
from codec.quantizers.rvq import ResidualConfig, ResidualVQ


@dataclass(frozen=True)
class SplitConfig(ResidualConfig):
    """Sizes of the split quantizer; ``dim`` is the width of both sides, 0 the latent's."""

    # Another name than the base's, since a config is of one quantizer.
    type: Literal["split_rvq"] = "split_rvq"  # type: ignore[assignment]
    residual: bool = False
    """Whether the others quantize what the first codebook left over, instead of the latent itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_codebooks < 2:
            raise CodecError("config quantizer: split_rvq needs 2 codebooks or more; use rvq for one")


class Side(nn.Module):
    """A residual quantizer between a projection into its space and one out of it, both without bias."""

    def __init__(self, config: ResidualConfig, latent_dim: int, dim: int):
        super().__init__()
        self.input = nn.Linear(latent_dim, dim, bias=False)
        self.output = nn.Linear(dim, latent_dim, bias=False)
        self.rvq = ResidualVQ(config, dim)

    def tables(self) -> Tensor:
        """``(K, C, D)``."""
        return self.output(self.rvq.tables())

    def prepare_encode(self, num_codebooks: int) -> Step:
        """Latent ``(B, D, T)`` to codes ``(B, K, T)``."""
        quantize = self.rvq.prepare_encode(num_codebooks)

        def encode(latent: Tensor) -> Tensor:
            batch, dim, frames = latent.shape
            # As rows: of a frame of each signal, ``(B, 1, D)``, PyTorch may make B products of one row, which round
            # in another way, so that a code near a tie would depend on how the signal is cut.
            rows = self.input(latent.transpose(1, 2).reshape(-1, dim))
            return quantize(rows.reshape(batch, frames, -1).transpose(1, 2))

        return encode


@quantizer("split_rvq")
class SplitVQ(Quantizer):
    """One codebook for what a recording says, and a residual quantizer for the rest, in parallel.

    Both see the whole latent, so the first codebook may follow a teacher without what it leaves out
    being a residual that the others have to carry (Moshi, Défossez et al. 2024, section 3.3.2). The
    latent is the sum of both sides.

    With ``residual``, the others see the latent less the first side's part of it: no bit tells again what the first
    codebook has told, and that one still chooses by the directions which its projection shows it, not by those in
    which the latent varies most.
    """

    Config = SplitConfig
    config: SplitConfig

    def __init__(self, config: SplitConfig, latent_dim: int):
        super().__init__(config)
        dim, sizes = config.dim or latent_dim, config.layer_sizes
        shared = ResidualConfig(normalise=config.normalise, beams=config.beams)
        self.first = Side(replace(shared, sizes=sizes[:1]), latent_dim, dim)
        self.rest = Side(replace(shared, sizes=sizes[1:]), latent_dim, dim)

    def tables(self) -> Tensor:
        """``(K, C, D)``."""
        size = max(self.sizes)
        sides = [side.tables() for side in (self.first, self.rest)]
        return torch.cat([nn.functional.pad(side, (0, 0, 0, size - side.shape[1])) for side in sides])

    def prepare_encode(self, num_codebooks: int) -> Step:
        """:meth:`Quantizer.prepare_encode`."""
        first = self.first.prepare_encode(1)
        if num_codebooks == 1:
            return first
        rest = self.rest.prepare_encode(num_codebooks - 1)
        if not self.config.residual:
            return lambda latent: torch.cat([first(latent), rest(latent)], dim=1)
        (table,) = self.first.tables()

        def encode(latent: Tensor) -> Tensor:
            codes = first(latent)
            left = latent - table[codes[:, 0]].transpose(1, 2)
            return torch.cat([codes, rest(left)], dim=1)

        return encode
