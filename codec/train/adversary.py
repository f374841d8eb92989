"""The discriminators' side of a step: when they work, their update, their judgement."""

from torch import Tensor, nn

from codec.train.config import AdversaryConfig
from codec.train.discriminators.container import Discriminators
from codec.train.optimizer import Optimizer, Rates
from codec.train.types import Judgement


class Adversary:
    """Discriminators with their optimizer and their timetable."""

    def __init__(
        self,
        config: AdversaryConfig,
        rates: Rates,
        discriminators: Discriminators,
        wrapped: nn.Module,
        optimizer: Optimizer,
        autocast,
    ):
        """
        Args:
            config: of the adversary.
            rates: the learning rate of each step of the run.
            discriminators: the module itself.
            wrapped: the same, wrapped for several processes; its own update goes through it.
            optimizer: of the discriminators.
            autocast: makes the mixed-precision context for a device.
        """
        self.config, self.rates = config, rates
        self.discriminators, self.optimizer = discriminators, optimizer
        self._wrapped, self._autocast = wrapped, autocast

    def active(self, step: int) -> bool:
        """Whether the discriminators have started."""
        return step >= self.config.start_step

    def turn(self, step: int) -> bool:
        """Whether the discriminators are updated in this step."""
        return self.active(step) and step % self.config.every == 0

    def update(self, real: Tensor, fake: Tensor, step: int) -> dict[str, Tensor]:
        """Compute gradients where it is the discriminators' turn; :meth:`apply` uses them.

        Returns:
            Their loss and gradient norm by log tag, or nothing when it is not their turn.
        """
        if not self.turn(step):
            return {}
        with self._autocast(real.device):
            loss = self._wrapped(real, fake.detach())
        loss.backward()
        return {"discriminator": loss.detach(), "discriminator_grad_norm": self.optimizer.clip()}

    def apply(self) -> None:
        """Step the optimizer."""
        self.optimizer.step()

    def set_rate(self, step: int) -> None:
        """Set the learning rate of a step; its warm-up begins where the discriminators do."""
        self.optimizer.set_rate(self.rates(step))

    def judge(self, real: Tensor, fake: Tensor) -> Judgement:
        """Outputs for the generator's losses; the discriminators gather no gradient from them."""
        with self._autocast(real.device):
            return self.discriminators.judge(real, fake)
