"""A stack of convolutions whose outputs are feature maps."""

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn

from codec.discriminators.registry import Opinion


class ConvStack(nn.Module):
    """Convolutions with leaky ReLU between them; the last gives the logits.

    Args:
        layers: convolutions, normed or not, whose activations are the feature maps.
        last: convolution to the logits.
        slope: of the leaky ReLU for negative inputs.
        logits_are_features: whether the logits close the list of feature maps.
    """

    def __init__(self, layers: Iterable[nn.Module], last: nn.Module, slope: float, logits_are_features: bool):
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.last = last
        self.slope = slope
        self.logits_are_features = logits_are_features

    def forward(self, x: Tensor) -> Opinion:
        """``x (B, C, ...)`` to logits ``(B, 1, ...)`` and feature maps."""
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), self.slope)
            features.append(x)
        logits = self.last(x)
        return Opinion(logits, [*features, logits] if self.logits_are_features else features)
