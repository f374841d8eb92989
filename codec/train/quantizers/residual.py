"""Training dynamics of the residual vector quantizer.

Codebooks follow exponential moving averages of the vectors that choose them (van den Oord et al.
2017, appendix A.1), start from k-means over recent latents, and give dead codes to fresh vectors
*with their averages reset*, since an average left behind would undo the revival at the next
update. Sums are all-reduced, so every process holds the codebooks of the global batch. Random
draws depend on (seed, step) alone: resuming repeats them.

Projections into and out of a codebook learn by gradient: out of it from what is made of the sum, into
it from the commitment too.
"""

import torch
from torch import Tensor

from codec.quantizers.kmeans import cluster_sums, draw_rows, kmeans
from codec.quantizers.rvq import ResidualVQ, nearest, search
from codec.train.distributed import all_reduce_sum, gather_rows
from codec.train.quantizers.base import QuantizerTrainer, QuantizerTrainingConfig, Walk, perplexity_of, trains
from codec.train.types import QuantizerOutput


@trains("rvq")
class EMAResidualVQ(QuantizerTrainer):
    """Trains the codebooks of a :class:`ResidualVQ` in place."""

    cluster_size: Tensor
    embed_sum: Tensor
    recent: Tensor
    rows: Tensor

    def __init__(self, rvq: ResidualVQ, config: QuantizerTrainingConfig | None = None):
        super().__init__(rvq.num_codebooks, config or QuantizerTrainingConfig())
        self._rvq = [rvq]
        self._projected = bool(rvq.config.dim)
        count, size, width = rvq.codebooks.shape
        dim = rvq.inputs[0].get_parameter("weight").shape[1] if self._projected else width
        self.register_buffer("cluster_size", torch.zeros(count, size))
        self.register_buffer("embed_sum", torch.zeros(count, size, width))
        self.register_buffer("recent", torch.zeros(self.config.init_vectors, dim))
        # Which rows of the codebooks are codes: all, unless the layers differ in size.
        rows = torch.arange(size) < torch.tensor(rvq.sizes).unsqueeze(1)
        self.register_buffer("rows", rows, persistent=False)
        self._num_recent = 0
        self._initialized = False

    def get_extra_state(self) -> Tensor:
        """Counters of the initialisation, as a tensor so that checkpoints need no pickle."""
        return torch.tensor([self._num_recent, int(self._initialized)])

    def set_extra_state(self, state: Tensor) -> None:
        self._num_recent, self._initialized = int(state[0]), bool(state[1])

    @property
    def rvq(self) -> ResidualVQ:
        """The quantizer whose codebooks are trained."""
        return self._rvq[0]

    @property
    def ready(self) -> bool:
        """Whether there are codebooks."""
        return bool(self.rvq.codebooks.any())

    def adopt_codebooks(self) -> None:
        self.cluster_size.copy_(self.rows.float())
        self.embed_sum.copy_(self.rvq.codebooks * self.rows.unsqueeze(2))
        self._initialized = True

    def forward(
        self, latent: Tensor, mask: Tensor, step: int, active: Tensor | None = None
    ) -> QuantizerOutput:
        """Implement :meth:`QuantizerTrainer.forward`."""
        with torch.autocast(latent.device.type, enabled=False):
            latent = latent.float()
            walk = self.walk(latent, mask, step)
            return self._output(latent, mask, walk, step, active, self._projected)

    def walk(self, latent: Tensor, mask: Tensor, step: int) -> Walk:
        """Quantize ``latent (B, D, T)`` and, in training mode, learn from it.

        Until there are codebooks, every layer hands on what it was given: the first of them all that there
        is, or, with projections, what passes through them.
        """
        vectors = latent.transpose(1, 2).flatten(0, 1)
        if self.learning and not self._initialized:
            self._collect(vectors.detach(), mask.flatten(), step)
        if not self._initialized and not self._projected:
            return _bypass(latent, self._num_codebooks)
        walk, codes, given = self._quantize(vectors, latent)
        if self.learning and self._initialized:
            self._update(codes, given, mask.flatten(), step)
        return walk

    def usage(self) -> Tensor:
        """``(K,)`` share of codes whose average count is not dead."""
        alive = self.rows & (self.cluster_size > self.config.revive_below * self._mean_size())
        return alive.float().sum(dim=1) / self.rows.sum(dim=1)

    def perplexity(self) -> Tensor:
        return perplexity_of(self.cluster_size)

    def settled(self, step: int) -> bool:
        """Whether this step only follows the codebooks: they exist, and no dead code is looked for."""
        return self._initialized and step % self.config.revive_every != 0

    def _mean_size(self) -> Tensor:
        """``(K, 1)`` average count per code."""
        return self.cluster_size.sum(dim=1, keepdim=True) / self.rows.sum(dim=1, keepdim=True)

    def _quantize(self, vectors: Tensor, latent: Tensor) -> tuple[Walk, Tensor, list[Tensor]]:
        """The walk, codes ``(K, N)``, and what each layer was given, ``(N, width)`` detached."""
        batch, dim, frames = latent.shape
        rvq, (keys, norms) = self.rvq, self.rvq.keys()
        codes, inputs, sums, errors = [], [], [], []
        residual = vectors if self._projected else vectors.detach()
        total = torch.zeros_like(residual)
        found = search(vectors.detach(), rvq.vectors(), rvq.config.beams) if rvq.config.beams > 1 else None
        for layer, codebook in enumerate(rvq.codebooks):
            given = rvq.project_in(layer, residual)
            index = nearest(given.detach(), keys[layer], norms[layer]) if found is None else found[layer]
            inputs.append(given.detach())
            chosen = codebook[index] if self._initialized else given.detach()
            if self._projected:
                errors.append((given - chosen).square().mean(dim=1).view(batch, frames))
                chosen = rvq.project_out(layer, given + (chosen - given).detach())
            residual = residual - chosen
            total = total + chosen
            codes.append(index)
            sums.append(total.view(batch, frames, dim).transpose(1, 2))
        stacked, summed = torch.stack(codes), torch.stack(sums)
        # What a layer was given less what it chose is the latent less the sum so far.
        apart = torch.stack(errors) if self._projected else (latent - summed).square().mean(dim=2)
        walk = Walk(stacked.view(-1, batch, frames).transpose(0, 1), summed, apart)
        return walk, stacked, inputs

    @torch.no_grad()
    def _collect(self, vectors: Tensor, keep: Tensor, step: int) -> None:
        """Remember the latest latents; after ``init_steps``, make codebooks of them."""
        rows = gather_rows(vectors, keep)[-len(self.recent) :]
        self.recent = torch.cat([self.recent[len(rows) :], rows])
        self._num_recent = min(len(self.recent), self._num_recent + len(rows))
        if step < self.config.init_steps or self._num_recent == 0:
            return
        residual = self.recent[-self._num_recent :]
        for layer, size in enumerate(self.rvq.sizes):
            codebook, given = self.rvq.codebooks[layer, :size], self.rvq.project_in(layer, residual)
            generator = self._generator(step, purpose=1 + layer)
            codebook.copy_(kmeans(given, size, self.config.kmeans_iterations, generator))
            residual = residual - self.rvq.project_out(layer, codebook[nearest(given, codebook)])
        self.adopt_codebooks()

    @torch.no_grad()
    def _update(self, codes: Tensor, given: list[Tensor], keep: Tensor, step: int) -> None:
        size = self.rvq.config.codebook_size
        weight = keep.to(given[0].dtype).unsqueeze(1)
        statistics = []
        for index, vectors in zip(codes, given, strict=True):
            ones = torch.cat([vectors * weight, weight], dim=1)
            _, sums = cluster_sums(ones, index, size)
            statistics.append(sums)
        total = all_reduce_sum(torch.stack(statistics))
        self.embed_sum.lerp_(total[..., :-1], 1 - self.config.decay)
        self.cluster_size.lerp_(total[..., -1], 1 - self.config.decay)
        if step % self.config.revive_every == 0:
            self._revive(given, keep, step)
        self.rvq.codebooks.copy_(self.embed_sum / self.cluster_size.clamp(min=1e-6).unsqueeze(2))

    def _revive(self, given: list[Tensor], keep: Tensor, step: int) -> None:
        """Move dead codes onto random vectors of this batch, averages included."""
        mean = self._mean_size()
        dead = self.rows & (self.cluster_size < self.config.revive_below * mean)
        size = self.rvq.config.codebook_size
        for layer, vectors in enumerate(given):
            rows = gather_rows(vectors, keep)
            if len(rows) == 0:
                return
            fresh = draw_rows(rows, size, self._generator(step, purpose=100 + layer))
            gone = dead[layer].unsqueeze(1)
            self.embed_sum[layer] = torch.where(gone, fresh * mean[layer], self.embed_sum[layer])
        self.cluster_size.copy_(torch.where(dead, mean.expand_as(dead), self.cluster_size))


def _bypass(latent: Tensor, count: int) -> Walk:
    batch, _, frames = latent.shape
    return Walk(
        codes=torch.zeros(batch, count, frames, dtype=torch.long, device=latent.device),
        sums=latent.detach().expand(count, *latent.shape),
        errors=latent.new_zeros(count, batch, frames),
    )
