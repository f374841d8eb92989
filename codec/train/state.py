"""All that changes during a run, as tensors by part: what a checkpoint holds and resume restores."""

from typing import Any

import torch
from torch import Tensor, nn

from codec.discriminators.container import Discriminators
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.transfer import fitting_codebooks, resizes_codebooks, seeing_levels
from codec.quantizers.base import read_quantizer_config
from codec.teachers.teaching import weighted_teachers
from codec.train.balancer import Balancer
from codec.train.checkpoint import Checkpoint, Parts
from codec.train.generator import Generator
from codec.train.objective import Objective, loss_subject
from codec.train.optimizer import Optimizer, WeightAverage


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

    def load_weights(self, checkpoint: Checkpoint, where: str) -> list[str]:
        """Take the modules of another run: averaged weights, discriminators, and heads of the same losses.

        Returns:
            names of the losses whose heads it does not have; they start from nothing.

        Raises:
            CodecError: when sizes differ.
        """
        parts = checkpoint.parts
        try:
            resized = self._resized_codebooks(checkpoint, where)
            weights = {**parts["generator"], **parts["average"], **resized}
            more = seeing_levels(weights, self.generator.state_dict(), prefix="codec.")
            self.generator.load_state_dict(weights | more)
            if resized:
                self.generator.quantizer.adopt_codebooks()
            if self.discriminators is not None and "discriminators" in parts:
                self.discriminators.load_state_dict(parts["discriminators"])
            heads = self._heads(checkpoint)
            self.objective.load_state_dict(heads, strict=False)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise CodecError(f"init_from {where}: does not fit this config ({reason})") from None
        self.restart_average()
        needed = {name for name, module in self.objective.heads().items() if module.state_dict()}
        return sorted(needed - {key.split(".")[1] for key in heads})

    def _resized_codebooks(self, checkpoint: Checkpoint, where: str) -> dict[str, Tensor]:
        """The codebooks for this run's sizes, with this run's averages, where a checkpoint has other sizes."""
        new = self.generator.codec.config.quantizer
        old = read_quantizer_config(checkpoint.meta["config"]["model"]["quantizer"])
        if not resizes_codebooks(old, new):
            return {}
        own = {name: value for name, value in self.generator.state_dict().items() if name.startswith("quantizer.")}
        return own | fitting_codebooks(checkpoint.parts["generator"], old, new, prefix="codec.")

    def _heads(self, checkpoint: Checkpoint) -> dict[str, Tensor]:
        """What losses learned that both runs have; one of another type or teacher is another loss."""
        config = checkpoint.meta["config"]
        losses = {**config["losses"], **weighted_teachers(config.get("teachers", {}))}
        theirs = {name: loss_subject(name, options) for name, options in losses.items()}
        same = {name for name, subject in self.objective.subjects.items() if theirs.get(name) == subject}
        mine = self.objective.state_dict()
        return {
            key: value
            for key, value in checkpoint.parts.get("objective", {}).items()
            if key.split(".")[1] in same and key in mine and mine[key].shape == value.shape
        }

    def restart_average(self) -> None:
        """Average from the weights as they are now, which are the start of losses on weights."""
        self.objective.restart()
        self.average.load_state_dict(dict(self.generator.named_parameters()))

    def released(self) -> Codec:
        """A copy of the model with averaged weights and the codebooks as they are, on the CPU."""
        codec = self.generator.codec
        averages = {name.removeprefix("codec."): value for name, value in self.average.state_dict().items()}
        model = Codec(codec.config)
        model.load_state_dict({**codec.state_dict(), **averages})
        return model.eval().requires_grad_(False)
