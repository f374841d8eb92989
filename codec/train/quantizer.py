"""Training dynamics of the residual vector quantizer.

Codebooks follow exponential moving averages of the vectors that choose them (van den Oord et al.
2017, appendix A.1), start from k-means over recent latents, and give dead codes to fresh vectors
*with their averages reset*, since an average left behind would undo the revival at the next
update. Sums are all-reduced, so every process holds the codebooks of the global batch. Random
draws depend on (seed, step) alone: resuming repeats them.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.quantizers.rvq import ResidualVQ, nearest
from codec.train.distributed import all_reduce_sum, gather_rows, rank, world_size
from codec.train.kmeans import cluster_sums, draw_rows, kmeans
from codec.train.types import QuantizerOutput


@dataclass(frozen=True)
class QuantizerTrainingConfig:
    """How codebooks learn."""

    decay: float = 0.99
    """Of the moving averages, per step."""
    init_steps: int = 50
    """Steps that run without quantization before k-means; latents are still noise then."""
    init_vectors: int = 8192
    """Latest latents that k-means sees: several batches, or codes would start empty."""
    kmeans_iterations: int = 10
    revive_below: float = 0.1
    """A code is dead when its average count is below this share of the mean count per code."""
    revive_every: int = 20
    """Steps between looks for dead codes."""
    dropout: float = 0.25
    """Probability that a clip is decoded from a random number of its first layers, not all."""
    seed: int = 0


class EMAResidualVQ(nn.Module):
    """Trains the codebooks of a :class:`ResidualVQ` in place.

    The wrapped quantizer is no submodule, so its codebooks appear once in a checkpoint.
    """

    cluster_size: Tensor
    embed_sum: Tensor
    recent: Tensor

    def __init__(self, rvq: ResidualVQ, config: QuantizerTrainingConfig | None = None):
        super().__init__()
        self.config = config or QuantizerTrainingConfig()
        self._rvq = [rvq]
        count, size, dim = rvq.codebooks.shape
        self.register_buffer("cluster_size", torch.zeros(count, size))
        self.register_buffer("embed_sum", torch.zeros(count, size, dim))
        self.register_buffer("recent", torch.zeros(self.config.init_vectors, dim))
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
        """Whether there are codebooks, so that the model can encode."""
        return bool(self.rvq.codebooks.any())

    def adopt_codebooks(self) -> None:
        """Continue from the codebooks as they are, e.g. of a released model without averages."""
        codebooks = self.rvq.codebooks
        self.cluster_size.fill_(1.0)
        self.embed_sum.copy_(codebooks)
        self._initialized = True

    def forward(
        self, latent: Tensor, mask: Tensor, step: int, active: Tensor | None = None
    ) -> QuantizerOutput:
        """Quantize a batch and, in training mode, update the codebooks.

        Args:
            latent: ``(B, D, T)``.
            mask: ``(B, T)`` bool; masked frames are quantized but teach nothing.
            step: of the training, for the random draws.
            active: ``(B,)`` int64, layers that each clip is decoded from; :meth:`draw_layers` by default.
        """
        with torch.autocast(latent.device.type, enabled=False):
            latent = latent.float()
            vectors = latent.detach().transpose(1, 2).flatten(0, 1)
            if self.training and not self._initialized:
                self._collect(vectors, mask.flatten(), step)
            if not self._initialized:
                return self._bypass(latent)
            codes, residuals, sums = self._quantize(vectors, latent.shape)
            if active is None:
                active = self.draw_layers(len(latent), step).to(latent.device)
            output = self._output(latent, mask, codes, sums, active)
            if self.training:
                self._update(codes, residuals, mask.flatten(), step)
        return output

    def usage(self) -> Tensor:
        """``(K,)`` share of codes whose average count is not dead."""
        threshold = self.config.revive_below * self.cluster_size.mean(dim=1, keepdim=True)
        return (self.cluster_size > threshold).float().mean(dim=1)

    def perplexity(self) -> Tensor:
        """``(K,)`` exponential of the entropy of average code counts; at most the codebook size."""
        shares = self.cluster_size / self.cluster_size.sum(dim=1, keepdim=True).clamp(min=1e-12)
        return torch.special.entr(shares).sum(dim=1).exp()

    def _quantize(self, vectors: Tensor, shape: torch.Size) -> tuple[Tensor, list[Tensor], Tensor]:
        """Codes ``(K, N)``, each layer's input ``(N, D)``, running sums ``(K, B, D, T)``."""
        batch, dim, frames = shape
        codes, residuals, sums = [], [], []
        residual, total = vectors, torch.zeros_like(vectors)
        for codebook in self.rvq.codebooks:
            index = nearest(residual, codebook)
            residuals.append(residual)
            chosen = codebook[index]
            residual = residual - chosen
            total = total + chosen
            codes.append(index)
            sums.append(total.view(batch, frames, dim).transpose(1, 2))
        return torch.stack(codes), residuals, torch.stack(sums)

    def _output(
        self, latent: Tensor, mask: Tensor, codes: Tensor, sums: Tensor, active: Tensor
    ) -> QuantizerOutput:
        batch, _, frames = latent.shape
        chosen = sums[active - 1, torch.arange(batch, device=latent.device)]
        # (K, B, T): squared distance between what layer k was given and what it chose.
        errors = (latent - sums).square().mean(dim=2)
        layers = torch.arange(1, len(sums) + 1, device=latent.device)
        counted = (layers[:, None, None] <= active[None, :, None]) & mask
        commitment = (errors * counted).sum() / self._mean_over_processes(counted.sum()).clamp(min=1)
        return QuantizerOutput(
            latent=latent,
            quantized=latent + (chosen - latent).detach(),
            sums=sums,
            codes=codes.view(-1, batch, frames).transpose(0, 1),
            commitment=commitment,
        )

    def _mean_over_processes(self, count: Tensor) -> Tensor:
        """Denominator that makes the processes' averaged gradients those of the global mean."""
        count = count.float()
        return all_reduce_sum(count) / world_size() if self.training else count

    def _bypass(self, latent: Tensor) -> QuantizerOutput:
        count = self.rvq.config.num_codebooks
        batch, _, frames = latent.shape
        return QuantizerOutput(
            latent=latent,
            quantized=latent,
            sums=latent.detach().expand(count, *latent.shape),
            codes=torch.zeros(batch, count, frames, dtype=torch.long, device=latent.device),
            commitment=latent.new_zeros(()),
        )

    def settled(self, step: int) -> bool:
        """Whether this step only follows the codebooks: they exist, and no dead code is looked for.

        Such a step waits for nothing on the device and looks the same as every other one.
        """
        return self._initialized and step % self.config.revive_every != 0

    def draw_layers(self, batch: int, step: int) -> Tensor:
        """``(B,)`` int64 on the CPU, layers that each clip is decoded from: quantizer dropout."""
        count = self.rvq.config.num_codebooks
        if not self.training or self.config.dropout == 0 or count == 1:
            return torch.full((batch,), count)
        generator = self._generator(step, purpose=0)
        # Drawn for the global batch, so that the split over processes changes nothing.
        total = batch * world_size()
        dropped = torch.rand(total, generator=generator) < self.config.dropout
        fewer = torch.randint(1, count, (total,), generator=generator)
        active = torch.where(dropped, fewer, torch.full((total,), count))
        return active[rank() * batch : (rank() + 1) * batch]

    @torch.no_grad()
    def _collect(self, vectors: Tensor, keep: Tensor, step: int) -> None:
        """Remember the latest latents; after ``init_steps``, make codebooks of them."""
        rows = gather_rows(vectors, keep)[-len(self.recent) :]
        self.recent = torch.cat([self.recent[len(rows) :], rows])
        self._num_recent = min(len(self.recent), self._num_recent + len(rows))
        if step < self.config.init_steps or self._num_recent == 0:
            return
        residual = self.recent[-self._num_recent :]
        size = self.rvq.config.codebook_size
        for layer, codebook in enumerate(self.rvq.codebooks):
            generator = self._generator(step, purpose=1 + layer)
            codebook.copy_(kmeans(residual, size, self.config.kmeans_iterations, generator))
            residual = residual - codebook[nearest(residual, codebook)]
        self.adopt_codebooks()

    @torch.no_grad()
    def _update(self, codes: Tensor, residuals: list[Tensor], keep: Tensor, step: int) -> None:
        size = self.rvq.config.codebook_size
        weight = keep.to(residuals[0].dtype).unsqueeze(1)
        statistics = []
        for index, residual in zip(codes, residuals, strict=True):
            ones = torch.cat([residual * weight, weight], dim=1)
            _, sums = cluster_sums(ones, index, size)
            statistics.append(sums)
        total = all_reduce_sum(torch.stack(statistics))
        self.embed_sum.lerp_(total[..., :-1], 1 - self.config.decay)
        self.cluster_size.lerp_(total[..., -1], 1 - self.config.decay)
        if step % self.config.revive_every == 0:
            self._revive(residuals, keep, step)
        self.rvq.codebooks.copy_(self.embed_sum / self.cluster_size.clamp(min=1e-6).unsqueeze(2))

    def _revive(self, residuals: list[Tensor], keep: Tensor, step: int) -> None:
        """Move dead codes onto random residuals of this batch, averages included."""
        mean = self.cluster_size.mean(dim=1, keepdim=True)
        dead = self.cluster_size < self.config.revive_below * mean
        size = self.rvq.config.codebook_size
        for layer, residual in enumerate(residuals):
            rows = gather_rows(residual, keep)
            if len(rows) == 0:
                return
            fresh = draw_rows(rows, size, self._generator(step, purpose=100 + layer))
            gone = dead[layer].unsqueeze(1)
            self.embed_sum[layer] = torch.where(gone, fresh * mean[layer], self.embed_sum[layer])
        self.cluster_size.copy_(torch.where(dead, mean.expand_as(dead), self.cluster_size))

    def _generator(self, step: int, purpose: int) -> torch.Generator:
        """A CPU generator of (seed, step, purpose)."""
        mixed = (self.config.seed * 1_000_003 + step) * 1_009 + purpose
        return torch.Generator().manual_seed(mixed % 2**63)
