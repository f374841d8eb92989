"""Training of finite scalar quantization: rounding lets the gradient through, and there is nothing else."""

import torch
from torch import Tensor

from codec.quantizers.fsq import FiniteScalarQuantizer
from codec.train.distributed import all_reduce_sum
from codec.train.quantizers.base import QuantizerTrainer, QuantizerTrainingConfig, Walk, perplexity_of, trains
from codec.train.types import QuantizerOutput


@trains("fsq")
class FsqTrainer(QuantizerTrainer):
    """Straight-through rounding (Mentzer et al. 2023); counts codes only to report how many are used."""

    cluster_size: Tensor

    def __init__(self, quantizer: FiniteScalarQuantizer, config: QuantizerTrainingConfig):
        super().__init__(1, config)
        self._quantizer = [quantizer]
        self.register_buffer("cluster_size", torch.zeros(1, quantizer.config.codebook_size))

    @property
    def ready(self) -> bool:
        return True

    def settled(self, step: int) -> bool:
        return True

    def adopt_codebooks(self) -> None:
        """There are none."""

    def usage(self) -> Tensor:
        threshold = self.config.revive_below * self.cluster_size.mean(dim=1, keepdim=True)
        return (self.cluster_size > threshold).float().mean(dim=1)

    def perplexity(self) -> Tensor:
        return perplexity_of(self.cluster_size)

    def forward(
        self, latent: Tensor, mask: Tensor, step: int, active: Tensor | None = None
    ) -> QuantizerOutput:
        """Implement :meth:`QuantizerTrainer.forward`; the commitment is 0."""
        (quantizer,) = self._quantizer
        with torch.autocast(latent.device.type, enabled=False):
            latent = latent.float()
            bounded = quantizer.bound(quantizer.input(latent.transpose(1, 2)))
            rounded = bounded + (bounded.round() - bounded).detach()
            codes = quantizer.codes_of(bounded.detach().round())
            if self.training:
                self._count(codes.flatten(), mask.flatten())
            sums = quantizer.project_out(rounded).transpose(1, 2).unsqueeze(0)
            walk = Walk(codes.unsqueeze(1), sums, latent.new_zeros(1, *codes.shape))
            return self._output(latent, mask, walk, step, active, projected=True)

    @torch.no_grad()
    def _count(self, codes: Tensor, keep: Tensor) -> None:
        counts = torch.zeros_like(self.cluster_size[0]).index_add_(0, codes, keep.float())
        self.cluster_size[0].lerp_(all_reduce_sum(counts), 1 - self.config.decay)
