"""A transformer whose frames attend to a window of the past, as one function of (input, state)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.mimi.config import MimiConfig

BLOCK = 256
"""Frames of one attention, so that its memory grows with the length and not with its square."""


@dataclass
class Past:
    """What later frames need of those before.

    Attributes:
        position: ``(B,)`` frames so far, float32, which is exact for a week.
        keys: ``(B, layers, heads, window - 1, head_dim)``, rotated; the newest last.
        values: the same shape. Frames before the start are zeros, which nobody attends to.
    """

    position: Tensor
    keys: Tensor
    values: Tensor


class Transformer(nn.Module):
    """Pre-norm transformer with rotary positions and layer scale, over frames ``(B, C, T)``."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))

    def forward(self, x: Tensor, state: Past | None = None) -> tuple[Tensor, Past]:
        """``x (B, C, T)`` to the same shape."""
        config, x = self.config, x.transpose(1, 2)
        if state is None:
            cache = x.new_zeros(len(x), config.layers, config.heads, config.window - 1, config.head_dim)
            state = Past(x.new_zeros(len(x)), cache, cache)
        if torch.compiler.is_compiling():
            # A graph has one shape of everything.
            y, state = self._block(x, state)
            return y.transpose(1, 2), state
        parts = []
        for part in x.split(BLOCK, dim=1):
            y, state = self._block(part, state)
            parts.append(y)
        return torch.cat(parts, dim=1).transpose(1, 2), state

    def _block(self, x: Tensor, state: Past) -> tuple[Tensor, Past]:
        """Frames ``x (B, T, C)`` that attend to each other and to the cache."""
        frames, cached = x.shape[1], self.config.window - 1
        steps = torch.arange(frames, device=x.device)
        rotation = self._rotation(state.position[:, None] + steps)
        mask = _mask(state.position, steps, cached)
        all_keys, all_values = [], []
        for index, layer in enumerate(self.layers):
            x, keys, values = layer(x, rotation, mask, state.keys[:, index], state.values[:, index])
            all_keys.append(keys[:, :, frames:])
            all_values.append(values[:, :, frames:])
        return x, Past(state.position + frames, torch.stack(all_keys, dim=1), torch.stack(all_values, dim=1))

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosine and sine ``(B, 1, T, head_dim)`` of positions ``(B, T)``."""
        dim = self.config.head_dim
        exponents = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32) / dim
        angles = positions[..., None] * (1.0 / self.config.rope_theta**exponents)
        angles = torch.cat([angles, angles], dim=-1).unsqueeze(1)
        return angles.cos(), angles.sin()


class Layer(nn.Module):
    """Attention and a feed-forward network, each scaled by channel and added to its input."""

    def __init__(self, config: MimiConfig):
        super().__init__()
        dim, inside = config.latent_dim, config.heads * config.head_dim
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(dim, config.norm_eps)
        self.query = nn.Linear(dim, inside, bias=False)
        self.key = nn.Linear(dim, inside, bias=False)
        self.value = nn.Linear(dim, inside, bias=False)
        self.output = nn.Linear(inside, dim, bias=False)
        self.attention_scale = nn.Parameter(torch.full((dim,), 0.01))
        self.feedforward_norm = nn.LayerNorm(dim, config.norm_eps)
        self.expand = nn.Linear(dim, config.feedforward_dim, bias=False)
        self.contract = nn.Linear(config.feedforward_dim, dim, bias=False)
        self.feedforward_scale = nn.Parameter(torch.full((dim,), 0.01))

    def forward(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], mask: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """``x (B, T, C)`` and what is cached, to the same shape and all keys and values."""
        normed = self.attention_norm(x)
        keys = torch.cat([keys, _rotate(self._by_head(self.key(normed)), rotation)], dim=2)
        values = torch.cat([values, self._by_head(self.value(normed))], dim=2)
        queries = _rotate(self._by_head(self.query(normed)), rotation)
        attended = F.scaled_dot_product_attention(queries, keys, values, mask)
        x = x + self.attention_scale * self.output(attended.transpose(1, 2).flatten(2))
        inside = F.gelu(self.expand(self.feedforward_norm(x)))
        return x + self.feedforward_scale * self.contract(inside), keys, values

    def _by_head(self, x: Tensor) -> Tensor:
        """``(B, T, C)`` to ``(B, heads, T, head_dim)``."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


def _rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn each pair of numbers ``(x_i, x_{i + dim / 2})`` by its angle."""
    cosine, sine = rotation
    first, second = x.chunk(2, dim=-1)
    return x * cosine + torch.cat([-second, first], dim=-1) * sine


def _mask(position: Tensor, steps: Tensor, cached: int) -> Tensor:
    """Which of ``cached`` and new frames each new frame attends to: ``(B, 1, T, cached + T)``, boolean."""
    # Counted from the first new frame, as the new frames are.
    places = torch.cat([torch.arange(-cached, 0, device=steps.device), steps])
    ago = steps[:, None] - places
    inside = (ago >= 0) & (ago <= cached)
    there = places >= -position[:, None]
    return inside & there[:, None, None]
