"""Translators: from the codec's latents to a teacher's space. They are trained, and never shipped with a codec."""


import torch.nn.functional as F
from torch import Tensor, nn

from codec.teachers.teaching import TranslatorKind

_MIN_WIDTH = 64


class LinearTranslator(nn.Linear):
    """``F = Q W + b``: what is linear in the latents is what a linear probe finds in them."""

    def forward(self, input: Tensor, mask: Tensor | None = None) -> Tensor:
        """``input (B, T, D')`` to ``(B, T, D)``; the mask does not matter."""
        return super().forward(input)


class MLPTranslator(nn.Module):
    """A hidden layer on each frame: ``LayerNorm, Linear, GELU, Linear``."""

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        width = max(_MIN_WIDTH, out_dim // 2)
        self.norm = nn.LayerNorm(in_dim)
        self.inner, self.outer = nn.Linear(in_dim, width), nn.Linear(width, out_dim)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """``frames (B, T, D')`` to ``(B, T, D)``; the mask does not matter."""
        return self.outer(F.gelu(self.inner(self.norm(frames))))


class ConvTranslator(nn.Module):
    """Three frames at a time, for teachers whose frames hold more of time than a latent does.

    The blocks of Multi-Distillation's translator for music (arXiv 2506.07237): ``Linear, GELU, LayerNorm,
    convolution of 3, ReLU, Linear``, with a LayerNorm in front. Masked frames are zero to the convolution,
    so that a clip's padding does not change what its frames become.
    """

    def __init__(self, in_dim: int, out_dim: int):
        super().__init__()
        width = max(_MIN_WIDTH, out_dim // 2)
        self.norm = nn.LayerNorm(in_dim)
        self.inner, self.inner_norm = nn.Linear(in_dim, width), nn.LayerNorm(width)
        self.conv, self.outer = nn.Conv1d(width, width, 3, padding=1), nn.Linear(width, out_dim)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """``frames (B, T, D')`` and ``mask (B, T)`` to ``(B, T, D)``."""
        hidden = self.inner_norm(F.gelu(self.inner(self.norm(frames)))).masked_fill(~mask.unsqueeze(2), 0.0)
        return self.outer(F.relu(self.conv(hidden.transpose(1, 2))).transpose(1, 2))


_KINDS: dict[str, type[nn.Module]] = {
    "linear": LinearTranslator,
    "conv": ConvTranslator,
    "mlp": MLPTranslator,
}


def build_translator(kind: TranslatorKind, in_dim: int, out_dim: int) -> nn.Module:
    """A module from ``(B, T, in_dim)`` and a mask ``(B, T)`` of the clips' frames to ``(B, T, out_dim)``."""
    return _KINDS[kind](in_dim, out_dim)
