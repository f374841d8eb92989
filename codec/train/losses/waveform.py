"""Distance of waveforms."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from codec.train.losses.context import LossContext
from codec.train.losses.registry import loss
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
