"""One step of training: the discriminators, then the generator, on one decoded fake."""

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from codec.train.config import TrainConfig
from codec.train.generator import Generator
from codec.train.guard import FiniteGuard
from codec.train.objective import Objective
from codec.train.optimizer import Optimizer
from codec.train.schedule import learning_rate_scale
from codec.train.types import Batch, LossInput


class TrainStep:
    """Updates generator and discriminators from a batch, without waiting for the device."""

    def __init__(
        self,
        config: TrainConfig,
        generator: nn.Module,
        objective: nn.Module,
        optimizer: Optimizer,
        guard: FiniteGuard,
    ):
        """
        Args:
            config: of the run.
            generator: a :class:`Generator`, maybe wrapped for several processes.
            objective: an :class:`Objective`, likewise.
            optimizer: of both.
            guard: watches losses and gradient norms.
        """
        self.config, self.generator, self.objective = config, generator, objective
        self.optimizer, self.guard = optimizer, guard

    def __call__(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One update.

        Returns:
            Detached scalars on the device, by log tag: the losses, their weighted ``total``, and
            the gradient norm.
        """
        scale = learning_rate_scale(self.config.schedule, step, self.config.max_steps)
        generated = self.generator(batch.wav, batch.mask, step)
        inputs = LossInput(batch.wav, generated.fake, batch, generated.quantizer)
        losses = self.objective(inputs)
        total = unwrap(self.objective).total(losses)
        total.backward()
        values = {name: value.detach() for name, value in losses.items()}
        values["total"] = total.detach()
        values["grad_norm"] = self.optimizer.clip()
        self.guard.watch(values, step)
        if batch.wav.device.type == "cpu":
            self.guard.check()
        self.optimizer.step(scale)
        return values


def unwrap(module: nn.Module) -> Generator | Objective | nn.Module:
    """The module inside the wrapper of several processes, or itself."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make global random draws of a step (should a module make any) a function of where we are."""
    torch.manual_seed((seed * 1_000_003 + step) * 4_099 + rank)
