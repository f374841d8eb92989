"""All that changes during a run, as tensors by part: what a checkpoint holds and resume restores."""

from typing import Any

import torch
from torch import nn

from codec.errors import CodecError
from codec.model.codec import Codec
from codec.train.balancer import Balancer
from codec.train.checkpoint import Parts
from codec.train.discriminators.container import Discriminators
from codec.train.ema import WeightAverage
from codec.train.generator import Generator
from codec.train.objective import Objective
from codec.train.optimizer import Optimizer


class TrainState:
    """The modules, averages and optimizers of a run."""

    def __init__(
        self,
        generator: Generator,
        objective: Objective,
        average: WeightAverage,
        optimizer: Optimizer,
        discriminators: Discriminators | None = None,
        discriminator_optimizer: Optimizer | None = None,
        balancer: Balancer | None = None,
    ):
        self.generator, self.objective = generator, objective
        self.average, self.optimizer = average, optimizer
        self.discriminators, self.discriminator_optimizer = discriminators, discriminator_optimizer
        self.balancer = balancer
        self._modules: dict[str, nn.Module] = {"generator": generator, "objective": objective}
        self._others: dict[str, Any] = {"average": average, "optimizer": optimizer}
        if discriminators is not None:
            self._modules["discriminators"] = discriminators
            self._others["discriminator_optimizer"] = discriminator_optimizer
        if balancer is not None:
            self._others["balancer"] = balancer

    def tensors(self) -> Parts:
        """Tensors by part. They are the live ones: write or copy them before the next step."""
        parts = {name: item.state_dict() for name, item in (self._modules | self._others).items()}
        return {**parts, "rng": {"cpu": torch.get_rng_state()}}

    def load(self, parts: Parts) -> None:
        """Restore everything, bit for bit."""
        for name, item in (self._modules | self._others).items():
            item.load_state_dict(parts.get(name, {}))
        torch.set_rng_state(parts["rng"]["cpu"])

    def load_weights(self, parts: Parts, where: str) -> None:
        """Take the modules of another run's checkpoint: its averaged weights, and its discriminators.

        Raises:
            CodecError: when sizes differ.
        """
        try:
            generator = {**parts["generator"], **parts["average"]}
            self.generator.load_state_dict(generator)
            if self.discriminators is not None and "discriminators" in parts:
                self.discriminators.load_state_dict(parts["discriminators"])
            # Heads of losses that only one of the two runs has stay as they are.
            known = self.objective.state_dict().keys() & parts.get("objective", {}).keys()
            self.objective.load_state_dict({name: parts["objective"][name] for name in known}, strict=False)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CodecError(f"init_from {where}: does not fit this config ({reason})") from None
        self.restart_average()

    def restart_average(self) -> None:
        """Average from the weights as they are now."""
        self.average.load_state_dict(dict(self.generator.named_parameters()))

    def released(self) -> Codec:
        """A copy of the model with averaged weights and the codebooks as they are, on the CPU."""
        codec = self.generator.codec
        averages = {name.removeprefix("codec."): value for name, value in self.average.state_dict().items()}
        model = Codec(codec.config)
        model.load_state_dict({**codec.state_dict(), **averages})
        return model.eval().requires_grad_(False)
