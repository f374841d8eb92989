"""Requirements of training on every quantizer: an output with gradients, and draws that repeat."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.quantizers.base import Quantizer
from codec.registry import Registry
from codec.train.distributed import all_reduce_sum, rank, world_size
from codec.train.types import QuantizerOutput


@dataclass(frozen=True)
class QuantizerTrainingConfig:
    """Settings of codebook training."""

    decay: float = 0.99
    """Decay of the moving averages, per step."""
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
    dropout_layers: tuple[int, ...] = ()
    """The numbers of layers it is then decoded from, evenly drawn: [1, 1, 2, 4] draws 1 half of the time. All but
    the largest number by default."""
    seed: int = 0

    def __post_init__(self) -> None:
        if any(layers < 1 for layers in self.dropout_layers):
            raise CodecError(f"config quantizer.dropout_layers: numbers from 1 on, not {list(self.dropout_layers)}")


@dataclass
class Walk:
    """A batch's way through the layers.

    Attributes:
        codes: ``(B, K, T)`` int64.
        sums: ``(K, B, D, T)``; entry k is the sum of layers 1 to k + 1.
        errors: ``(K, B, T)`` squared distance between what a layer was given and what it chose.
    """

    codes: Tensor
    sums: Tensor
    errors: Tensor


class QuantizerTrainer(nn.Module):
    """Trains a quantizer in place; a subclass defines how a batch is quantized and what is learnt from it.

    The quantizer is not a submodule, so its tensors appear once in a checkpoint.
    """

    def __init__(self, num_codebooks: int, config: QuantizerTrainingConfig):
        super().__init__()
        most = max(config.dropout_layers, default=0)
        if most > num_codebooks:
            raise CodecError(f"config quantizer.dropout_layers: {most} layers, and the model has {num_codebooks}")
        self.config = config
        self.frozen = False
        self._num_codebooks = num_codebooks

    @property
    def learning(self) -> bool:
        """Whether a batch changes the codebooks."""
        return self.training and not self.frozen

    def freeze(self) -> None:
        """Leave the codebooks as they are from here on; layers are still drawn."""
        for module in self.modules():
            if isinstance(module, QuantizerTrainer):
                module.frozen = True

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
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether the model can encode."""
        raise NotImplementedError

    def settled(self, step: int) -> bool:
        """Whether this step waits for nothing on the device and looks the same as every other one."""
        raise NotImplementedError

    def adopt_codebooks(self) -> None:
        """Continue from the codebooks as they are, e.g. of a released model without averages."""
        raise NotImplementedError

    def usage(self) -> Tensor:
        """``(K,)`` share of codes that are not dead."""
        raise NotImplementedError

    def perplexity(self) -> Tensor:
        """``(K,)`` exponential of the entropy of average code counts; at most the codebook size."""
        raise NotImplementedError

    def draw_layers(self, batch: int, step: int) -> Tensor:
        """``(B,)`` int64 on the CPU, layers that each clip is decoded from: quantizer dropout."""
        count = self._num_codebooks
        if not self.training or self.config.dropout == 0 or count == 1:
            return torch.full((batch,), count)
        generator = self._generator(step, purpose=0)
        # Drawn for the global batch, so that the split over processes changes nothing.
        total = batch * world_size()
        dropped = torch.rand(total, generator=generator) < self.config.dropout
        choices = torch.tensor(self.config.dropout_layers or range(1, count))
        fewer = choices[torch.randint(len(choices), (total,), generator=generator)]
        active = torch.where(dropped, fewer, torch.full((total,), count))
        return active[rank() * batch : (rank() + 1) * batch]

    def _output(
        self, latent: Tensor, mask: Tensor, walk: Walk, step: int, active: Tensor | None, projected: bool
    ) -> QuantizerOutput:
        """
        Args:
            projected: whether ``walk.sums`` have the gradient, of projections too, in them.
        """
        if active is None:
            active = self.draw_layers(len(latent), step).to(latent.device)
        sums = walk.sums
        chosen = sums[active - 1, torch.arange(len(latent), device=latent.device)]
        layers = torch.arange(1, len(sums) + 1, device=latent.device)
        counted = (layers[:, None, None] <= active[None, :, None]) & mask
        count = self._mean_over_processes(counted.sum()).clamp(min=1)
        return QuantizerOutput(
            latent=latent,
            quantized=chosen if projected else latent + (chosen - latent).detach(),
            sums=sums,
            codes=walk.codes,
            commitment=(walk.errors * counted).sum() / count,
            active=active,
            projected=projected,
        )

    def _mean_over_processes(self, count: Tensor) -> Tensor:
        """Denominator that makes the processes' averaged gradients those of the global mean."""
        count = count.float()
        return all_reduce_sum(count) / world_size() if self.training else count

    def _generator(self, step: int, purpose: int) -> torch.Generator:
        """A CPU generator of (seed, step, purpose)."""
        mixed = (self.config.seed * 1_000_003 + step) * 1_009 + purpose
        return torch.Generator().manual_seed(mixed % 2**63)


def perplexity_of(counts: Tensor) -> Tensor:
    """``(K,)`` of counts ``(K, C)``."""
    shares = counts / counts.sum(dim=1, keepdim=True).clamp(min=1e-12)
    return torch.special.entr(shares).sum(dim=1).exp()


TRAINERS: Registry[Callable[[Any, QuantizerTrainingConfig], QuantizerTrainer]] = Registry(
    "quantizer trainer", "codec.train.quantizers"
)

trains = TRAINERS.register
"""Class decorator: register what trains the quantizers of a type, built as ``cls(quantizer, config)``."""


def train_quantizer(quantizer: Quantizer, config: QuantizerTrainingConfig) -> QuantizerTrainer:
    """What trains a quantizer in place.

    Raises:
        CodecError: for a quantizer that nobody registered a trainer for.
    """
    return TRAINERS.find(quantizer.config.type)(quantizer, config)
