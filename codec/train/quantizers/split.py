"""Training of the split quantizer: both sides follow moving averages, their projections gradients."""

from dataclasses import replace

import torch
from torch import Tensor

from codec.quantizers.split import Side, SplitVQ
from codec.train.quantizers.base import QuantizerTrainer, QuantizerTrainingConfig, Walk, trains
from codec.train.quantizers.residual import EMAResidualVQ
from codec.train.types import QuantizerOutput

_OTHER_SEED = 1 << 20


@trains("split_rvq")
class SplitTrainer(QuantizerTrainer):
    """Trains a :class:`SplitVQ` in place. Each side is an :class:`EMAResidualVQ` in its own space.

    The gradient of a side's sum passes to the side's input as it is, and through both projections.
    """

    def __init__(self, quantizer: SplitVQ, config: QuantizerTrainingConfig):
        super().__init__(quantizer.num_codebooks, config)
        self._quantizer = [quantizer]
        # The sides draw no layers.
        config = replace(config, dropout_layers=())
        self.first = EMAResidualVQ(quantizer.first.rvq, config)
        self.rest = EMAResidualVQ(quantizer.rest.rvq, replace(config, seed=config.seed + _OTHER_SEED))

    @property
    def ready(self) -> bool:
        return self.first.ready

    def settled(self, step: int) -> bool:
        return self.first.settled(step) and self.rest.settled(step)

    def adopt_codebooks(self) -> None:
        self.first.adopt_codebooks()
        self.rest.adopt_codebooks()

    def usage(self) -> Tensor:
        return torch.cat([self.first.usage(), self.rest.usage()])

    def perplexity(self) -> Tensor:
        return torch.cat([self.first.perplexity(), self.rest.perplexity()])

    def forward(
        self, latent: Tensor, mask: Tensor, step: int, active: Tensor | None = None
    ) -> QuantizerOutput:
        """Implement :meth:`QuantizerTrainer.forward`."""
        (quantizer,) = self._quantizer
        with torch.autocast(latent.device.type, enabled=False):
            latent = latent.float()
            first = _side(quantizer.first, self.first, latent, mask, step)
            # Before the first codebook there is nothing to leave out: a side then passes on all of the latent.
            told = first.sums[-1] if quantizer.config.residual and self.first.ready else 0.0
            rest = _side(quantizer.rest, self.rest, latent - told, mask, step)
            walk = Walk(
                codes=torch.cat([first.codes, rest.codes], dim=1),
                sums=torch.cat([first.sums, first.sums + rest.sums]),
                errors=torch.cat([first.errors, rest.errors]),
            )
            return self._output(latent, mask, walk, step, active, projected=True)


def _side(side: Side, trainer: EMAResidualVQ, latent: Tensor, mask: Tensor, step: int) -> Walk:
    """A side's walk, whose sums ``(K, B, D, T)`` have been projected to the latent's width."""
    given = side.input(latent.transpose(1, 2)).transpose(1, 2)
    walk = trainer.walk(given, mask, step)
    through = given + (walk.sums - given).detach()
    sums = side.output(through.transpose(2, 3)).transpose(2, 3)
    return Walk(walk.codes, sums, walk.errors)
