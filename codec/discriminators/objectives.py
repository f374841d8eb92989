"""The two adversarial objectives, over the logits of several sub-discriminators."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

GanKind = Literal["hinge", "lsgan"]
Reduction = Literal["mean", "sum"]
CHANCE: dict[GanKind, float] = {"hinge": 2.0, "lsgan": 0.5}
"""Least loss of a discriminator that gives real and fake the same logits."""


def discriminator_terms(
    real_logits: Sequence[Tensor], fake_logits: Sequence[Tensor], kind: GanKind
) -> list[Tensor]:
    """What K sub-discriminators minimise; one that cannot tell real from fake has :data:`CHANCE`.

    ``hinge`` (Lim and Ye 2017, arXiv 1705.02894)::

        mean max(0, 1 - D_k(x)) + mean max(0, 1 + D_k(x_hat))

    ``lsgan`` (Mao et al. 2017, arXiv 1611.04076)::

        mean (1 - D_k(x))^2 + mean D_k(x_hat)^2

    Args:
        real_logits, fake_logits: one tensor of any shape per sub-discriminator.
        kind: ``hinge`` or ``lsgan``.
    """
    terms = []
    for real, fake in zip(real_logits, fake_logits, strict=True):
        if kind == "hinge":
            terms.append((1 - real.float()).relu().mean() + (1 + fake.float()).relu().mean())
        else:
            terms.append((1 - real.float()).square().mean() + fake.float().square().mean())
    return terms


def generator_loss(
    fake_logits: Sequence[Tensor], kind: GanKind = "hinge", reduction: Reduction = "mean"
) -> Tensor:
    """The generator's adversarial loss.

    ``hinge``: ``1/K sum_k mean max(0, 1 - D_k(x_hat))``, the bounded form of EnCodec (Defossez et
    al. 2022, arXiv 2210.13438, section 3.4); ``lsgan``: ``1/K sum_k mean (1 - D_k(x_hat))^2``.
    """
    if kind == "hinge":
        return reduce([(1 - fake.float()).relu().mean() for fake in fake_logits], reduction)
    return reduce([(1 - fake.float()).square().mean() for fake in fake_logits], reduction)


def reduce(terms: Sequence[Tensor], reduction: Reduction) -> Tensor:
    """Mean or sum of scalars."""
    stacked = torch.stack(list(terms))
    return stacked.mean() if reduction == "mean" else stacked.sum()
