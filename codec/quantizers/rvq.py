"""Residual vector quantizer.

Training dynamics (EMA, k-means, dead codes, dropout) live in :mod:`codec.train.quantizers`; they
write the same ``codebooks`` buffer, so there is one set of codebooks and no copy to keep in step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.errors import CodecError
from codec.quantizers.base import Quantizer, Step, quantizer

_MOST_ENTRIES = 2**24
"""Of a codebook: more would not fit into memory, and a larger number is a slip."""
_MOST_BEAMS = 64
"""Sixteen find nearly all that there is to gain, and memory grows with each."""
_CUTS = 16
"""Parts of a row of which :func:`_largest` takes maxima."""


@dataclass(frozen=True)
class ResidualConfig:
    """Sizes of the residual vector quantizer."""

    always_saved: ClassVar[tuple[str, ...]] = ("num_codebooks", "codebook_size")

    num_codebooks: int = 8
    codebook_size: int = 1024
    sizes: tuple[int, ...] = ()
    """Entries of each codebook, where they differ; it decides the two settings above."""
    dim: int = 0
    """Width of the codebooks, between projections into and out of each; 0: the latent's, without projections."""
    normalise: bool = False
    """Whether the nearest code is the one at the smallest angle, whatever its length."""
    beams: int = 1
    """Paths that a search for codes follows (:func:`search`); 1: each codebook takes the nearest."""
    type: Literal["rvq"] = "rvq"

    def __post_init__(self) -> None:
        if self.sizes:
            object.__setattr__(self, "num_codebooks", len(self.sizes))
            object.__setattr__(self, "codebook_size", max(self.sizes))
        if len(set(self.sizes)) == 1:
            object.__setattr__(self, "sizes", ())
        if self.num_codebooks < 1 or min(self.layer_sizes) < 1:
            raise CodecError("config quantizer: codebooks and their sizes must be 1 or more")
        if max(self.layer_sizes) > _MOST_ENTRIES:
            most = max(self.layer_sizes)
            raise CodecError(f"config quantizer: a codebook has {most} entries; at most {_MOST_ENTRIES}")
        if not 1 <= self.beams <= _MOST_BEAMS:
            raise CodecError(f"config quantizer: beams is {self.beams}; it must be 1 to {_MOST_BEAMS}")
        if self.dim < 0:
            raise CodecError(f"config quantizer: dim is {self.dim}; it must be 0 or more")

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return self.sizes or (self.codebook_size,) * self.num_codebooks


@quantizer("rvq")
class ResidualVQ(Quantizer):
    """K codebooks in a row, each quantizing what the ones before left over.

    SoundStream (Zeghidour et al. 2021, algorithm 1): ``r_1 = z``, ``c_k = argmin_i |r_k - e_ki|``,
    ``r_{k+1} = r_k - e_{k c_k}``; decoding sums the chosen vectors. With ``dim``, each codebook is looked
    up in a separate narrow space, and with ``normalise`` by angle: the factorized, L2-normalised codes
    of DAC (Kumar et al. 2023, section 3.2). With ``beams``, codes are those of a :func:`search`, whatever the way
    to the nearest one is. It passes all K codebooks even where fewer are asked for, so that these are the first of
    the same K codes.

    Attributes:
        codebooks: ``(K, C, dim or D)``; rows past the end of a smaller codebook are never chosen.
    """

    Config = ResidualConfig
    config: ResidualConfig
    codebooks: Tensor

    def __init__(self, config: ResidualConfig, latent_dim: int):
        super().__init__(config)
        width = config.dim or latent_dim
        self.register_buffer("codebooks", torch.zeros(config.num_codebooks, config.codebook_size, width))
        if config.dim:
            count = range(config.num_codebooks)
            self.inputs = nn.ModuleList(nn.Linear(latent_dim, width) for _ in count)
            self.outputs = nn.ModuleList(nn.Linear(width, latent_dim) for _ in count)

    def tables(self) -> Tensor:
        """``(K, C, D)``: the codebooks, projected to the latent's width."""
        if not self.config.dim:
            return self.codebooks
        tables = torch.stack([self.project_out(k, codebook) for k, codebook in enumerate(self.codebooks)])
        if not self.config.sizes:
            return tables
        return tables.masked_fill(self._missing().unsqueeze(2), 0.0)

    def vectors(self) -> list[Tensor]:
        """:meth:`Quantizer.vectors`, of which there always are some."""
        return [table[:size] for table, size in zip(self.tables(), self.sizes, strict=True)]

    def project_in(self, layer: int, residual: Tensor) -> Tensor:
        """``(N, D)`` to what is compared with a layer's codebook, ``(N, dim or D)``."""
        return self.inputs[layer](residual) if self.config.dim else residual

    def project_out(self, layer: int, chosen: Tensor) -> Tensor:
        """Inverse direction of :meth:`project_in`."""
        return self.outputs[layer](chosen) if self.config.dim else chosen

    def keys(self) -> tuple[Tensor, Tensor]:
        """Vectors ``(K, C, dim or D)`` and numbers ``(K, C)`` with which :func:`nearest` finds the codes."""
        if self.config.normalise:
            # Vectors of one length are nearest where their product is largest, and that of the
            # residual, the same for all codes, need not be one.
            keys, norms = (
                F.normalize(self.codebooks, dim=2),
                self.codebooks.new_zeros(self.codebooks.shape[:2]),
            )
        else:
            keys, norms = self.codebooks, half_norms(self.codebooks)
        return keys, norms.masked_fill(self._missing(), -torch.inf) if self.config.sizes else norms

    def prepare_encode(self, num_codebooks: int) -> Step:
        """:meth:`Quantizer.prepare_encode`: for a single frame, norms would be a tenth of the work."""
        if self.config.beams > 1:
            return self._prepare_search(num_codebooks)
        # Taken apart here, since a single frame would notice that too.
        keys, norms = (parts.unbind() for parts in self.keys())
        tables = self.tables().unbind()

        def encode(latent: Tensor) -> Tensor:
            batch, dim, frames = latent.shape
            residual = latent.transpose(1, 2).reshape(-1, dim).to(tables[0].dtype)
            codes = []
            for layer in range(num_codebooks):
                index = nearest(self.project_in(layer, residual), keys[layer], norms[layer])
                residual = residual - tables[layer][index]
                codes.append(index)
            return torch.stack(codes).reshape(num_codebooks, batch, frames).transpose(0, 1)

        return encode

    def _prepare_search(self, num_codebooks: int) -> Step:
        tables = self.vectors()
        norms = [half_norms(table) for table in tables]

        def encode(latent: Tensor) -> Tensor:
            batch, dim, frames = latent.shape
            vectors = latent.transpose(1, 2).reshape(-1, dim).to(tables[0].dtype)
            codes = search(vectors, tables, self.config.beams, norms)[:num_codebooks]
            return codes.reshape(num_codebooks, batch, frames).transpose(0, 1)

        return encode

    def _missing(self) -> Tensor:
        """``(K, C)``: rows past the end of a smaller codebook."""
        sizes = torch.tensor(self.sizes, device=self.device)
        return torch.arange(self.codebooks.shape[1], device=self.device) >= sizes.unsqueeze(1)


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


def search(vectors: Tensor, tables: Sequence[Tensor], beams: int, norms: Sequence[Tensor] | None = None) -> Tensor:
    """Codes whose sum is near to each vector, by the M-L search (LeBlanc et al. 1993).

    After each codebook the M sums nearest to the vector are kept, each with the codes that led to it. Of the paths
    that reach the end, the nearest wins. With one beam each codebook takes the nearest; with as many as there are
    sums, the nearest of all is found.

    Args:
        vectors: ``(N, D)``.
        tables: ``(C_k, D)`` of each of K codebooks.
        beams: M, 1 or more.
        norms: ``(C_k,)`` :func:`half_norms` of the tables, when they are known already.

    Returns:
        ``(K, N)`` int64.
    """
    norms = [half_norms(table) for table in tables] if norms is None else norms
    count, dim = vectors.shape
    left = vectors.unsqueeze(1)
    # (|v|^2 - |left|^2) / 2 of each path (N, M): the nearest sum is the one of the largest gain.
    gain = vectors.new_zeros(count, 1)
    steps = []
    for table, norm in zip(tables, norms, strict=True):
        paths, size = left.shape[1], len(table)
        fit = torch.addmm(norm, left.reshape(-1, dim), table.t()).view(count, paths, size).add_(gain.unsqueeze(2))
        gain, place = _largest(fit.flatten(1), min(beams, paths * size))
        parent, code = place // size, place % size
        left = left.gather(1, parent.unsqueeze(2).expand(-1, -1, dim)) - table[code]
        steps.append((parent, code))
    # Back along the best path, the first of the last step.
    path, codes = place.new_zeros(count, 1), []
    for parent, code in reversed(steps):
        codes.append(code.gather(1, path).squeeze(1))
        path = parent.gather(1, path)
    return torch.stack(codes[::-1])


def _largest(values: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The ``count`` largest of each row of ``values (N, C)``, in falling order, and their places.

    ``topk`` would take as long as the matrix product before it. So long rows are cut into :data:`_CUTS` parts first:
    the largest lie in those columns whose maximum is among the largest.
    """
    width = values.shape[1] // _CUTS
    if values.shape[1] % _CUTS or width < 8 * count:
        return values.topk(count)
    parts = values.view(-1, _CUTS, width)
    columns = parts.amax(1).topk(count).indices
    candidates = parts.gather(2, columns.unsqueeze(1).expand(-1, _CUTS, -1)).flatten(1)
    largest, place = candidates.topk(count)
    return largest, place // count * width + columns.gather(1, place % count)
