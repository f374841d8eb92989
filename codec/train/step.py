"""One step of training: the discriminators, then the generator, on one decoded fake."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from codec.data.batch import Batch
from codec.errors import CodecError
from codec.train.adversary import Adversary
from codec.train.balancer import Balancer
from codec.train.objective import Objective
from codec.train.optimizer import Optimizer, Rates
from codec.train.types import LossInput


class FiniteGuard:
    """Remembers, on the device and without waiting for it, in which step each value went bad."""

    def __init__(self) -> None:
        self._first_bad: dict[tuple[str, ...], Tensor] = {}

    def watch(self, values: dict[str, Tensor], step: int) -> None:
        """Take in the scalars of a step."""
        names = tuple(values)
        bad = ~torch.isfinite(torch.stack([value.detach().float() for value in values.values()]))
        first = self._first_bad.setdefault(names, torch.full_like(bad, -1, dtype=torch.int64))
        self._first_bad[names] = torch.where((first < 0) & bad, step, first)

    def check(self) -> None:
        """Raise when any value went bad; waits for the device.

        Raises:
            CodecError: with the names that went bad first, and the step.
        """
        found: dict[int, list[str]] = {}
        for names, first in self._first_bad.items():
            for name, step in zip(names, first.tolist(), strict=True):
                if step >= 0:
                    found.setdefault(step, []).append(name)
        if found:
            step = min(found)
            raise CodecError(
                f"step {step}: {', '.join(sorted(set(found[step])))} became NaN or infinite; the last "
                "checkpoint is from before. Resume with a lower optimizer.lr or optimizer.clip, or "
                "check the data of this step"
            )


class TrainStep:
    """Updates discriminators and generator from a batch; on a GPU it never waits for the device."""

    def __init__(
        self,
        rates: Rates,
        generator: nn.Module,
        objective: nn.Module,
        optimizer: Optimizer,
        guard: FiniteGuard,
        adversary: Adversary | None = None,
        balancer: Balancer | None = None,
    ):
        """
        Args:
            rates: the learning rate of each step.
            generator: a :class:`codec.train.generator.Generator`, maybe wrapped for several processes.
            objective: a :class:`codec.train.objective.Objective`, likewise.
            optimizer: of both.
            guard: watches losses and gradient norms.
            adversary: the discriminators, if there are any.
            balancer: replaces the fixed weights, if there is one.
        """
        self.rates, self.generator, self.objective = rates, generator, objective
        self.optimizer, self.guard = optimizer, guard
        self.adversary, self.balancer = adversary, balancer
        # Steps before this one leave the generator as it is, and train the objective's heads.
        self.frozen_until = 0.0
        # Without, losses get audio of no samples.
        self.decodes = True

    def __call__(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """One update.

        Returns:
            Detached scalars on the device, by log tag: the losses, their weighted ``total``, the
            gradient norms, the effective weights of teachers, and with a balancer each loss's share of the
            gradient; while the discriminators learn alone, theirs only.
        """
        self.set_rates(step)
        return self.compute(batch, step, self._watch)

    def set_rates(self, step: int) -> None:
        """Set the learning rates of a step."""
        self.optimizer.set_rate(self.rates(step))
        if self.adversary is not None:
            self.adversary.prepare(step)

    def compute(
        self,
        batch: Batch,
        step: int,
        watch: Callable[[dict[str, Tensor], int], None],
        active: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The update itself, at the rates that are set.

        Args:
            batch: on the device.
            step: of the run.
            watch: is shown the scalars of either side before its weights change.
            active: ``(B,)`` layers that each clip is decoded from; drawn from the step by default.

        Returns:
            As a call.
        """
        still = self.adversary is not None and self.adversary.warming(step)
        with torch.set_grad_enabled(not still):
            generated = self.generator(batch.wav, batch.mask, step, active, self.decodes)
        inputs = LossInput(batch.wav, generated.fake, batch, generated.quantizer)
        values: dict[str, Tensor] = {}
        if self.adversary is not None and self.adversary.active(step):
            values |= _discriminate(self.adversary, inputs, step, watch)
            if still:
                return values
            inputs.judgement = self.adversary.judge(inputs.real, inputs.fake)
        losses = self.objective(inputs)
        objective: Objective = unwrap(self.objective)
        weighed, weights = objective.weigh(losses, inputs.quantizer.latent)
        total = objective.total(weighed, inputs.judgement.strength if inputs.judgement else None)
        values |= {name: value.detach() for name, value in losses.items()}
        values |= {f"weight/{name}": weight for name, weight in weights.items()} | objective.facts()
        values["total"] = total.detach()
        if self.balancer is None:
            total.backward()
        else:
            balanced = self.balancer(weighed, inputs.fake)
            balanced.total.backward()
            values |= {f"share/{name}": value for name, value in balanced.shares.items()}
        if step < self.frozen_until:
            # Without gradients an optimizer neither moves weights nor makes moments of them.
            self.generator.zero_grad(set_to_none=True)
        values["grad_norm"] = self.optimizer.clip()
        watch(values, step)
        self.optimizer.step()
        return values

    def check(self) -> None:
        """Raise when a value went bad or a discriminator has won; waits for the device."""
        self.guard.check()
        if self.adversary is not None:
            self.adversary.check()

    def _watch(self, values: dict[str, Tensor], step: int) -> None:
        self.guard.watch(values, step)
        if values["total" if "total" in values else "discriminator"].device.type == "cpu":
            # Nothing to wait for, so the weights are spared as well.
            self.guard.check()


def _discriminate(
    adversary: Adversary, inputs: LossInput, step: int, watch: Callable[[dict[str, Tensor], int], None]
) -> dict[str, Tensor]:
    values = adversary.update(inputs.real, inputs.fake, step)
    if values:
        watch(values, step)
        adversary.apply()
    return values


def unwrap(module: nn.Module) -> Any:
    """The module inside the wrapper of several processes, or itself; whoever asks knows of what class."""
    return module.module if isinstance(module, DistributedDataParallel) else module
