"""Losses with nothing to set: the distance of waveforms, and the quantizer's commitment."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("waveform")
class WaveformLoss(nn.Module):
    """``mean |x - x_hat|`` over batch and samples; samples after a clip's end are silence."""

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()

    def forward(self, inputs: LossInput) -> Tensor:
        return F.l1_loss(inputs.fake.float(), inputs.real.float())


@loss("commitment")
class CommitmentLoss(nn.Module):
    """Mean over layers of ``|r_k - sg(q_k)|^2`` (van den Oord et al. 2017, arXiv 1711.00937, eq. 3).

    The quantizer computes it, as only it knows which layers were active; this gives it its name.
    """

    hears_audio = False

    @dataclass(frozen=True)
    class Config:
        """Nothing to set."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()

    def forward(self, inputs: LossInput) -> Tensor:
        return inputs.quantizer.commitment
