"""All discriminators of a run as one module."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from codec.discriminators.objectives import (
    CHANCE,
    GanKind,
    Reduction,
    discriminator_terms,
    gradient_penalties,
    reduce,
)
from codec.discriminators.registry import Judgement, Opinion, build_discriminator
from codec.errors import CodecError

_DECAY = 0.995
"""Of the averaged losses by which :meth:`Discriminators.won` goes: about 200 steps."""


class Discriminators(nn.Module):
    """Registered discriminators side by side; their sub-discriminators form one list.

    Calling it gives the discriminators' own loss, so that it can be wrapped for distributed
    training; the generator's step goes through :meth:`judge` of the unwrapped module.

    Args:
        config: options by registered name, as in YAML: ``{"multiband": {}, "mpd": {...}}``.
        kind: of the loss; the generator's ``adversarial`` loss should have the same.
        reduction: over sub-discriminators.
        penalty: weight of half of :func:`gradient_penalties` at real and at fake.

    Raises:
        CodecError: for an empty config, an unknown name or an unknown option.
    """

    def __init__(
        self,
        config: dict[str, dict[str, Any]],
        kind: GanKind = "hinge",
        reduction: Reduction = "mean",
        penalty: float = 0.0,
    ):
        super().__init__()
        if not config:
            raise CodecError("discriminators: none configured; name at least one, such as multiband")
        self.kind = kind
        self.reduction = reduction
        self.penalty = penalty
        self._counts: dict[str, int] = {}
        self._average: Tensor | None = None
        self.members = nn.ModuleDict(
            {name: build_discriminator(name, options or {}) for name, options in config.items()}
        )

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """The loss that the discriminators minimise; nothing flows back to ``fake``.

        Args:
            real: ``(B, T)``.
            fake: ``(B, T)``.
        """
        # One pass over both: larger matrices, and weights normalised once.
        heard = torch.cat([real.float(), fake.detach().float()]).requires_grad_(self.penalty > 0)
        opinions = self.opinions(heard)
        pairs = [opinion.logits.split([real.shape[0], fake.shape[0]]) for opinion in opinions]
        real_logits, fake_logits = zip(*pairs, strict=True)
        terms = discriminator_terms(real_logits, fake_logits, self.kind)
        self._follow(torch.stack([term.detach() for term in terms]))
        loss = reduce(terms, self.reduction)
        if self.penalty > 0:
            # Of both halves at once: the mean over them is half of R1 and R2.
            slopes = gradient_penalties([opinion.logits for opinion in opinions], heard)
            loss = loss + self.penalty * reduce(slopes, self.reduction)
        return loss

    def won(self, part: float) -> list[str]:
        """Sub-discriminators, such as ``mpd/2``, whose averaged loss is below ``part`` of that at chance."""
        if self._average is None:
            return []
        names = [f"{name}/{number}" for name, count in self._counts.items() for number in range(count)]
        bound = part * CHANCE[self.kind]
        return [name for name, loss in zip(names, self._average.tolist(), strict=True) if loss < bound]

    def _follow(self, losses: Tensor) -> None:
        """Average the losses ``(K,)`` over steps, from chance on; on the device, without waiting for it."""
        if self._average is None:
            self._average = torch.full_like(losses, CHANCE[self.kind])
        self._average.lerp_(losses, 1 - _DECAY)

    def judge(self, real: Tensor, fake: Tensor) -> Judgement:
        """Outputs for the generator's losses.

        The real branch has no graph, and the discriminators' weights gather no gradients: only
        ``fake`` does.

        Args:
            real: ``(B, T)``.
            fake: ``(B, T)`` with gradient.
        """
        with torch.no_grad():
            reals = self.opinions(real.float())
        with _frozen(self):
            fakes = self.opinions(fake.float())
        return Judgement(
            real_logits=[opinion.logits for opinion in reals],
            fake_logits=[opinion.logits for opinion in fakes],
            real_features=[opinion.features for opinion in reals],
            fake_features=[opinion.features for opinion in fakes],
        )

    def opinions(self, wav: Tensor) -> list[Opinion]:
        """``wav (B, T)`` to the opinions of all sub-discriminators."""
        opinions = []
        for name, member in self.members.items():
            found = member(wav)
            self._counts[name] = len(found)
            opinions += found
        return opinions


@contextmanager
def _frozen(module: nn.Module) -> Iterator[None]:
    """Graphs made inside hold the parameters as constants."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
