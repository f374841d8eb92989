"""Losses of the generator through the discriminators."""

from dataclasses import dataclass

from torch import Tensor, nn

from codec.discriminators.objectives import GanKind, Reduction, generator_loss, reduce
from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("adversarial")
class AdversarialLoss(nn.Module):
    """:func:`generator_loss` on the logits; zero before the discriminators start."""

    @dataclass(frozen=True)
    class Config:
        """The paper's code: ``kind=lsgan, reduction=sum``."""

        kind: GanKind = "hinge"
        reduction: Reduction = "mean"

    needs_discriminators = True

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInput) -> Tensor:
        judgement = inputs.judgement
        if judgement is None:
            return inputs.fake.new_zeros(())
        return generator_loss(
            judgement.fake_logits, judgement.real_logits, self.config.kind, self.config.reduction
        )


@loss("feature_matching")
class FeatureMatchingLoss(nn.Module):
    """Distance of the discriminators' L feature maps of K sub-discriminators.

    ``1/(KL) sum_kl mean |f_kl(x) - f_kl(x_hat)|`` (Kumar et al. 2019, arXiv 1910.06711), each term
    divided by ``mean |f_kl(x)|`` when ``normalize`` (Defossez et al. 2022, arXiv 2210.13438,
    equation 2), so that a discriminator cannot raise the loss by scaling its features. Zero before
    the discriminators start.
    """

    @dataclass(frozen=True)
    class Config:
        """The paper's code: ``normalize=false, reduction=sum`` and twice the weight."""

        normalize: bool = True
        reduction: Reduction = "mean"

    needs_discriminators = True

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        self.config = config

    def forward(self, inputs: LossInput) -> Tensor:
        judgement = inputs.judgement
        if judgement is None:
            return inputs.fake.new_zeros(())
        terms = [
            self._distance(real.float(), fake.float())
            for reals, fakes in zip(judgement.real_features, judgement.fake_features, strict=True)
            for real, fake in zip(reals, fakes, strict=True)
        ]
        return reduce(terms, self.config.reduction)

    def _distance(self, real: Tensor, fake: Tensor) -> Tensor:
        distance = (real - fake).abs().mean()
        # A dead feature map has mean zero; the floor keeps its term finite.
        return distance / real.abs().mean().clamp(min=1e-5) if self.config.normalize else distance
