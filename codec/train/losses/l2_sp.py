"""The loss ``l2_sp``: weights stay near those that the run started with."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("l2_sp")
class L2SPLoss(nn.Module):
    """``|theta - theta0|^2 / 2`` over the weights that are trained (L2-SP, Li et al. 2018, arXiv 1802.01483).

    It regularises a fine-tuning towards the model it started from, ``theta0``: the usual alternative to a merge that
    takes back a share of the change. The gradient of a weight is its distance from the start, times the loss's weight.
    """

    hears_audio = False

    @dataclass(frozen=True)
    class Config:
        """Which weights are held."""

        include: tuple[str, ...] = ("*",)
        """Patterns of the model's weights; those that are frozen do not count."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        self.include, self.name = config.include, context.name
        self._live: dict[str, nn.Parameter] = {}

    def watch(self, codec: Codec) -> None:
        """Hold the trained weights of ``codec`` near what they are now.

        Raises:
            CodecError: when none of them fits ``include``.
        """
        self._live = {
            name: parameter
            for name, parameter in codec.named_parameters()
            if parameter.requires_grad and any(fnmatchcase(name, pattern) for pattern in self.include)
        }
        if not self._live:
            raise CodecError(
                f"config losses.{self.name}.include: no weight that is trained fits {', '.join(self.include)}"
            )
        for name, parameter in self._live.items():
            # A part of the state, so that a resumed run knows its start; buffers have no dots in their names.
            self.register_buffer(_key(name), parameter.detach().clone())

    def restart(self) -> None:
        """Take the weights as they are now for the start."""
        for name, parameter in self._live.items():
            self.get_buffer(_key(name)).copy_(parameter.detach())

    def forward(self, inputs: LossInput) -> Tensor:
        moved = [(now - self.get_buffer(_key(name))).square().sum() for name, now in self._live.items()]
        return 0.5 * torch.stack(moved).sum()


def _key(name: str) -> str:
    return name.replace(".", "/")
