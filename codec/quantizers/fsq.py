"""Finite scalar quantization: a few numbers, each rounded to a few levels; no codebook to learn."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.quantizers.base import Quantizer, Step, quantizer

_LISTED = 4096
"""Codes up to which their vectors are listed for whoever looks at them."""


@dataclass(frozen=True)
class FsqConfig:
    """Levels of the finite scalar quantizer."""

    always_saved: ClassVar[tuple[str, ...]] = ("levels",)

    levels: tuple[int, ...] = (8, 5, 5, 5)
    """Levels of each number; their product is the number of codes."""
    type: Literal["fsq"] = "fsq"

    def __post_init__(self) -> None:
        if not self.levels or min(self.levels) < 2 or math.prod(self.levels) > 1 << 31:
            raise CodecError(
                f"config quantizer: levels {list(self.levels)} must be 2 or more each, their product at most 2^31"
            )

    @property
    def num_codebooks(self) -> int:
        return 1

    @property
    def codebook_size(self) -> int:
        return math.prod(self.levels)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Size of the only layer."""
        return (self.codebook_size,)


@quantizer("fsq")
class FiniteScalarQuantizer(Quantizer):
    """Mentzer et al. 2023 (arXiv 2309.15505), appendix A.1, between two projections.

    ``bound(z) = (l - 1)(1 + eps) / 2 * tanh(z + shift) - offset`` has ``l`` whole numbers in its range, and
    rounding chooses one. A code is the numbers' place in a list, the first changing fastest.
    """

    Config = FsqConfig
    config: FsqConfig
    reach: Tensor
    offset: Tensor
    shift: Tensor
    width: Tensor
    basis: Tensor

    def __init__(self, config: FsqConfig, latent_dim: int):
        super().__init__(config)
        self.input = nn.Linear(latent_dim, len(config.levels))
        self.output = nn.Linear(len(config.levels), latent_dim)
        levels = torch.tensor(config.levels, dtype=torch.float64, device="cpu")
        half = (levels - 1) * (1 + 1e-3) / 2
        offset = (levels.remainder(2) == 0).double() / 2
        basis = [math.prod(config.levels[:index]) for index in range(len(config.levels))]
        for name, value in {
            "reach": half.float(),
            "offset": offset.float(),
            "shift": (offset / half).atanh().float(),
            "width": levels.div(2, rounding_mode="floor").float(),
            "basis": torch.tensor(basis, device="cpu"),
        }.items():
            self.register_buffer(name, value, persistent=False)

    def bound(self, numbers: Tensor) -> Tensor:
        """``(..., d)`` projected latents to where rounding gives as many values as there are levels."""
        return (numbers + self.shift).tanh() * self.reach - self.offset

    def codes_of(self, rounded: Tensor) -> Tensor:
        """``(..., d)`` whole numbers of :meth:`bound` to codes ``(...)`` int64."""
        return ((rounded + self.width).long() * self.basis).sum(dim=-1)

    def numbers_of(self, codes: Tensor) -> Tensor:
        """Inverse of :meth:`codes_of`."""
        levels = torch.tensor(self.config.levels, device=codes.device)
        return codes.unsqueeze(-1).div(self.basis, rounding_mode="floor").remainder(levels) - self.width

    def project_out(self, rounded: Tensor) -> Tensor:
        """``(..., d)`` whole numbers, scaled to -1 to 1, to the latent's width ``(..., D)``."""
        return self.output(rounded / self.width)

    def prepare_encode(self, num_codebooks: int) -> Step:
        """:meth:`Quantizer.prepare_encode`."""

        def encode(latent: Tensor) -> Tensor:
            numbers = self.input(latent.transpose(1, 2).to(self.input.weight.dtype))
            return self.codes_of(self.bound(numbers).round()).unsqueeze(1)

        return encode

    def prepare_decode(self) -> Step:
        """:meth:`Quantizer.prepare_decode`."""

        def decode(codes: Tensor) -> Tensor:
            (codes,) = codes.unbind(1)
            latent = self.project_out(self.numbers_of(codes.clamp(min=0)))
            return (latent * (codes >= 0).unsqueeze(-1)).transpose(1, 2)

        return decode

    def vectors(self) -> list[Tensor] | None:
        """``(C, D)`` of the one layer, unless its codes are too many to list."""
        if self.config.codebook_size > _LISTED:
            return None
        return [
            self.project_out(self.numbers_of(torch.arange(self.config.codebook_size, device=self.device)))
        ]
