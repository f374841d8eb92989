"""The weighted sum of losses that the generator minimises."""

from typing import Any

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.train import losses as _registered  # noqa: F401  (losses register themselves)
from codec.train.losses.context import LossContext
from codec.train.losses.registry import build_loss, typed_options
from codec.train.types import LossInput

__all__ = ["Objective", "loss_weight", "typed_options"]


RESERVED = {"total", "grad_norm", "discriminator", "discriminator_grad_norm", "hours_per_hour"}
"""Tags of the log that are no losses."""


class Objective(nn.Module):
    """All losses of a config; those with weights of their own (distillation) train them here."""

    def __init__(self, losses: dict[str, dict[str, Any]], context: LossContext):
        """
        Args:
            losses: by name: ``weight``, ``type`` (the name by default) and the options of that type.
            context: facts of the model and the data.

        Raises:
            CodecError: for an unknown loss or option, or a missing or negative weight.
        """
        super().__init__()
        for name in losses:
            # Modules are named so, and the log has other values.
            if not name.isidentifier() or name in RESERVED:
                raise CodecError(f"config losses.{name}: not a name for a loss; use letters, digits and _")
        self.subjects = {name: loss_subject(name, options) for name, options in losses.items()}
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

    def total(self, values: dict[str, Tensor], strength: Tensor | None = None) -> Tensor:
        """``sum_i weight_i loss_i``; ``strength`` is a factor on those that discriminators give."""
        weighted = []
        for name, value in values.items():
            term = self.weights[name] * value
            if strength is not None and getattr(self.losses[name], "needs_discriminators", False):
                term = strength * term
            weighted.append(term)
        return torch.stack(weighted).sum()


def loss_weight(name: str, options: dict[str, Any]) -> float:
    """The ``weight`` of a loss's options.

    Raises:
        CodecError: when it is missing, negative or no number.
    """
    weight = options.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or weight < 0:
        raise CodecError(f"config losses.{name}.weight: expected a number >= 0, got {weight!r}")
    return float(weight)


def loss_subject(name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    """Type and teacher of a loss: with another of either, what it has learned means nothing."""
    typed = typed_options(name, options)
    return typed["type"], typed.get("teacher")
