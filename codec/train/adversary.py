"""The discriminators' side of a step: when they work, their update, their judgement."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from codec.discriminators.container import Discriminators
from codec.discriminators.registry import Judgement
from codec.errors import CodecError
from codec.train.config import AdversaryConfig
from codec.train.optimizer import Optimizer, Rates


class Adversary:
    """Discriminators with their optimizer and their timetable.

    From ``start_step`` on the discriminators learn; for ``warmup_steps`` they do so alone, then the weights of
    the generator's adversarial losses rise from 0 over ``ramp_steps``. Gradients of discriminators that know
    nothing yet would otherwise be the first thing that the generator learns from them.
    """

    def __init__(
        self,
        config: AdversaryConfig,
        rates: Rates,
        discriminators: Discriminators,
        wrapped: nn.Module,
        optimizer: Optimizer,
        autocast: Callable[[torch.device], torch.autocast],
        crop_samples: int | None = None,
    ):
        """
        Args:
            config: of the adversary.
            rates: the learning rate of each step of the run.
            discriminators: the module itself.
            wrapped: the same, wrapped for several processes; its own update goes through it.
            optimizer: of the discriminators.
            autocast: makes the mixed-precision context for a device.
            crop_samples: samples at the end of each crop that they see; all by default.
        """
        self.config, self.rates = config, rates
        self.discriminators, self.optimizer = discriminators, optimizer
        self._wrapped, self._autocast = wrapped, autocast
        self._crop = crop_samples
        # Written before each step, so that a recorded step reads it from where it lies.
        self._strength = torch.ones((), device=next(discriminators.parameters()).device)

    def active(self, step: int) -> bool:
        """Whether the discriminators have started."""
        return step >= self.config.start_step

    def warming(self, step: int) -> bool:
        """Whether they learn alone, while the generator stands still."""
        return 0 <= step - self.config.start_step < self.config.warmup_steps

    def turn(self, step: int) -> bool:
        """Whether the discriminators are updated in this step."""
        return self.active(step) and step % self.config.every == 0

    def strength(self, step: int) -> float:
        """Factor from 0 to 1 on the weights of the adversarial losses."""
        ramped = step - self.config.start_step - self.config.warmup_steps + 1
        return min(1.0, max(0.0, ramped / (self.config.ramp_steps + 1)))

    def update(self, real: Tensor, fake: Tensor, step: int) -> dict[str, Tensor]:
        """Compute gradients where it is the discriminators' turn; :meth:`apply` uses them.

        Returns:
            Their loss and gradient norm by log tag, or nothing when it is not their turn.
        """
        if not self.turn(step):
            return {}
        with self._autocast(real.device):
            loss = self._wrapped(self._seen(real), self._seen(fake.detach()))
        loss.backward()
        return {"discriminator": loss.detach(), "discriminator_grad_norm": self.optimizer.clip()}

    def apply(self) -> None:
        """Step the optimizer."""
        self.optimizer.step()

    def prepare(self, step: int) -> None:
        """Set the learning rate and the strength of a step; the rate's warm-up begins where discriminators do."""
        self.optimizer.set_rate(self.rates(step))
        self._strength.fill_(self.strength(step))

    def judge(self, real: Tensor, fake: Tensor) -> Judgement:
        """Outputs for the generator's losses; the discriminators gather no gradient from them."""
        with self._autocast(real.device):
            judgement = self.discriminators.judge(self._seen(real), self._seen(fake))
        judgement.strength = self._strength
        return judgement

    def check(self) -> None:
        """End a run in which a discriminator has won; waits for the device.

        Raises:
            CodecError: that names the sub-discriminators.
        """
        won = self.discriminators.won(self.config.min_loss)
        if won:
            raise CodecError(
                f"adversarial training: {', '.join(won)} tell decoded from real audio without error (loss below "
                f"{self.config.min_loss:g} of that at chance), so their gradients teach nothing; lower "
                "adversary.optimizer.lr or the size of these discriminators and resume, or set adversary.min_loss=0"
            )

    def _seen(self, wav: Tensor) -> Tensor:
        """The part of crops ``(B, T)`` that discriminators see."""
        return wav if self._crop is None else wav[:, -self._crop :]
