"""The adversarial objectives, over the logits of several sub-discriminators."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus

GanKind = Literal["hinge", "lsgan", "relativistic"]
Reduction = Literal["mean", "sum"]
CHANCE: dict[GanKind, float] = {"hinge": 2.0, "lsgan": 0.5, "relativistic": math.log(2)}
"""Least loss of a discriminator that gives real and fake the same logits."""


def discriminator_terms(
    real_logits: Sequence[Tensor], fake_logits: Sequence[Tensor], kind: GanKind
) -> list[Tensor]:
    """What K sub-discriminators minimise; one that cannot tell real from fake has :data:`CHANCE`.

    ``hinge`` (Lim and Ye 2017, arXiv 1705.02894)::

        mean max(0, 1 - D_k(x)) + mean max(0, 1 + D_k(x_hat))

    ``lsgan`` (Mao et al. 2017, arXiv 1611.04076)::

        mean (1 - D_k(x))^2 + mean D_k(x_hat)^2

    ``relativistic``, a decoded crop against its own recording (Jolicoeur-Martineau 2018, arXiv 1807.00734; the form of
    Huang et al. 2025, arXiv 2501.05441, equation 2)::

        mean log(1 + exp(D_k(x_hat) - D_k(x)))

    Args:
        real_logits, fake_logits: one tensor of any shape per sub-discriminator, the same for both.
    """
    terms = []
    for real, fake in zip(real_logits, fake_logits, strict=True):
        if kind == "hinge":
            terms.append((1 - real.float()).relu().mean() + (1 + fake.float()).relu().mean())
        elif kind == "relativistic":
            terms.append(softplus(fake.float() - real.float()).mean())
        else:
            terms.append((1 - real.float()).square().mean() + fake.float().square().mean())
    return terms


def gradient_penalties(logits: Sequence[Tensor], wav: Tensor) -> list[Tensor]:
    """How steep K sub-discriminators are at their input: R1 for recordings, R2 for decoded audio.

    ``mean (d sum D_k / d x)^2`` over the samples of ``wav`` (Mescheder et al. 2018, arXiv 1801.04406; Huang et al.
    2025, arXiv 2501.05441). Theirs is ``||grad D||^2`` of one logit an image. A crop has the more logits the
    longer it is, and the mean over samples does not depend on that.

    Args:
        logits: one tensor of any shape per sub-discriminator, with a graph to ``wav``.
        wav: ``(B, T)`` that requires gradients.

    Returns:
        Scalars that can be differentiated once more.
    """
    grads = [torch.autograd.grad(found.float().sum(), wav, create_graph=True)[0] for found in logits]
    return [grad.float().square().mean() for grad in grads]


def generator_loss(
    fake_logits: Sequence[Tensor],
    real_logits: Sequence[Tensor],
    kind: GanKind = "hinge",
    reduction: Reduction = "mean",
) -> Tensor:
    """The generator's adversarial loss.

    ``hinge``: ``1/K sum_k mean max(0, 1 - D_k(x_hat))``, the bounded form of EnCodec (Defossez et
    al. 2022, arXiv 2210.13438, section 3.4); ``lsgan``: ``1/K sum_k mean (1 - D_k(x_hat))^2``;
    ``relativistic``: ``1/K sum_k mean log(1 + exp(D_k(x) - D_k(x_hat)))``, which alone looks at the real logits.
    """
    if kind == "relativistic":
        pairs = zip(real_logits, fake_logits, strict=True)
        return reduce([softplus(real.float() - fake.float()).mean() for real, fake in pairs], reduction)
    if kind == "hinge":
        return reduce([(1 - fake.float()).relu().mean() for fake in fake_logits], reduction)
    return reduce([(1 - fake.float()).square().mean() for fake in fake_logits], reduction)


def reduce(terms: Sequence[Tensor], reduction: Reduction) -> Tensor:
    """Mean or sum of scalars."""
    stacked = torch.stack(list(terms))
    return stacked.mean() if reduction == "mean" else stacked.sum()
