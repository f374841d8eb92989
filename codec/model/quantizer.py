"""Residual vector quantizer: the lean path from latents to codes and back.

Training dynamics (EMA, k-means, dead codes, dropout) live in :mod:`codec.train.quantizer`; they
write the same ``codebooks`` buffer, so there is one set of codebooks and no copy to keep in step.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.errors import CodecError


@dataclass(frozen=True)
class QuantizerConfig:
    """Sizes of the residual vector quantizer."""

    num_codebooks: int = 8
    codebook_size: int = 1024


class ResidualVQ(nn.Module):
    """K codebooks in a row, each quantizing what the ones before left over.

    SoundStream (Zeghidour et al. 2021, algorithm 1): ``r_1 = z``, ``c_k = argmin_i |r_k - e_ki|``,
    ``r_{k+1} = r_k - e_{k c_k}``; decoding sums the chosen vectors.
    """

    codebooks: Tensor

    def __init__(self, config: QuantizerConfig, latent_dim: int):
        super().__init__()
        self.config = config
        self.register_buffer(
            "codebooks", torch.zeros(config.num_codebooks, config.codebook_size, latent_dim)
        )

    def encode(
        self, latent: Tensor, num_codebooks: int | None = None, half_norms: Tensor | None = None
    ) -> Tensor:
        """Nearest codes of each residual.

        Args:
            latent: ``(B, D, T)`` float.
            num_codebooks: how many layers to run; all by default.
            half_norms: ``(K, C)`` :func:`half_norms` of the codebooks, when many short calls share them.

        Returns:
            Codes ``(B, K, T)`` int64.
        """
        count = self.check_count(num_codebooks)
        batch, dim, frames = latent.shape
        residual = latent.transpose(1, 2).reshape(-1, dim).to(self.codebooks.dtype)
        codes = []
        for layer, codebook in enumerate(self.codebooks[:count]):
            index = nearest(residual, codebook, half_norms[layer] if half_norms is not None else None)
            residual = residual - codebook[index]
            codes.append(index)
        return torch.stack(codes).reshape(count, batch, frames).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Sum of the chosen vectors: codes ``(B, K, T)`` of the first K layers to ``(B, D, T)``."""
        count = self.check_count(codes.shape[1])
        latent = self.codebooks[0][codes[:, 0]]
        for layer in range(1, count):
            latent = latent + self.codebooks[layer][codes[:, layer]]
        return latent.transpose(1, 2)

    def check_count(self, num_codebooks: int | None) -> int:
        """``num_codebooks``, or all when ``None``.

        Raises:
            CodecError: when the model has no such number of codebooks.
        """
        available = self.config.num_codebooks
        if num_codebooks is None:
            return available
        if not 1 <= num_codebooks <= available:
            raise CodecError(f"{num_codebooks} codebooks asked for; this model has 1 to {available}")
        return num_codebooks


def half_norms(codebook: Tensor) -> Tensor:
    """``-|e|^2 / 2`` of the rows of ``codebook (..., C, D)``: ``(..., C)``."""
    return codebook.square().sum(dim=-1).mul(-0.5)


def nearest(vectors: Tensor, codebook: Tensor, norms: Tensor | None = None) -> Tensor:
    """Index of the nearest codebook row (Euclidean) for each vector.

    ``argmin |v - e|^2 = argmax (v.e - |e|^2 / 2)``: one matrix product, no ``(N, C, D)`` tensor.

    Args:
        vectors: ``(N, D)``.
        codebook: ``(C, D)``.
        norms: ``(C,)`` :func:`half_norms` of the codebook, when they are known already.

    Returns:
        ``(N,)`` int64.
    """
    norms = half_norms(codebook) if norms is None else norms
    return torch.addmm(norms, vectors, codebook.t()).argmax(dim=1)
