"""Pre-norm transformer blocks (Dosovitskiy et al. 2021, arXiv 2010.11929) and fixed sine positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.pretraining.models.config import Shape

_EXPANSION = 4
_EPS = 1e-6


class Block(nn.Module):
    """Attention, then a network of two layers, each on normalised inputs and added to them."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=_EPS), nn.LayerNorm(dim, eps=_EPS)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, _EXPANSION * dim), nn.Linear(_EXPANSION * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, N, D)`` to ``(B, N, D)``."""
        query, key, value = self.qkv(self.norm1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        heard = F.scaled_dot_product_attention(query, key, value)
        x = x + self.proj(heard.transpose(1, 2).flatten(2))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """Blocks, and a normalisation at the end."""

    def __init__(self, shape: Shape):
        super().__init__()
        self.blocks = nn.ModuleList(Block(shape.dim, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=_EPS)
        initialize(self)

    def forward(self, x: Tensor, depth: int | None = None) -> Tensor:
        """``(B, N, D)`` to ``(B, N, D)``.

        Args:
            depth: the output of so many blocks, not normalised; the normalised output of all by default.
        """
        for block in self.blocks[:depth]:
            x = block(x)
        return self.norm(x) if depth is None else x


def initialize(module: nn.Module) -> None:
    """Xavier-uniform weights and no offsets in all linear layers, as masked autoencoders have them."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def sine_positions(grid: tuple[int, int], dim: int) -> Tensor:
    """Positions of a grid, ``(rows * columns, dim)`` float32, row by row.

    The first half of the dimensions is a sine and cosine code of the column, the second of the row, with
    wavelengths from 2 pi to 10000 * 2 pi (Vaswani et al. 2017); on one row, all of them are of the column.
    """
    rows, columns = grid
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    if rows == 1:
        return _sines(column.flatten(), dim)
    return torch.cat([_sines(column.flatten(), dim // 2), _sines(row.flatten(), dim // 2)], dim=1)


def _sines(place: Tensor, dim: int) -> Tensor:
    half = dim // 2
    rates = 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    angles = place.double()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).float()
