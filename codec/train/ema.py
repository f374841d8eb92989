"""Exponential moving average of weights, for evaluation and release."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a module's parameters; buffers (codebooks among them) are taken as they are."""

    def __init__(self, module: nn.Module, decay: float):
        """
        Args:
            module: whose parameters are followed.
            decay: per step, in [0, 1); less in the first steps, so that the start is forgotten.
        """
        self.decay = decay
        self._parameters = dict(module.named_parameters())
        self._average = {name: value.detach().clone() for name, value in self._parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self._average.values()), list(self._parameters.values()), 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        for name, value in self._average.items():
            value.copy_(tensors[name])
