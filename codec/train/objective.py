"""The weighted sum of losses that the generator minimises."""

from typing import Any

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.train import losses as _registered  # noqa: F401  (losses register themselves)
from codec.train.losses.context import LossContext
from codec.train.losses.registry import build_loss
from codec.train.types import LossInput


class Objective(nn.Module):
    """All losses of a config; those with weights of their own (distillation) train them here."""

    def __init__(self, losses: dict[str, dict[str, Any]], context: LossContext):
        """
        Args:
            losses: by registered name: ``weight`` and the loss's own options.
            context: facts of the model and the data.

        Raises:
            CodecError: for an unknown loss or option, or a missing or negative weight.
        """
        super().__init__()
        self.weights = {name: loss_weight(name, options) for name, options in losses.items()}
        self.losses = nn.ModuleDict(
            {
                name: build_loss(name, {k: v for k, v in options.items() if k != "weight"}, context)
                for name, options in losses.items()
            }
        )

    def forward(self, inputs: LossInput) -> dict[str, Tensor]:
        """Unweighted scalars by name, float32."""
        return {name: loss(inputs).float() for name, loss in self.losses.items()}

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """``sum_i weight_i loss_i``."""
        return torch.stack([self.weights[name] * value for name, value in values.items()]).sum()


def loss_weight(name: str, options: dict[str, Any]) -> float:
    """The ``weight`` of a loss's options.

    Raises:
        CodecError: when it is missing, negative or no number.
    """
    weight = options.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
        raise CodecError(f"config losses.{name}.weight: expected a number >= 0, got {weight!r}")
    return float(weight)
