"""Losses of MATPAC (Quelennec et al. 2025, arXiv 2502.12031) and of multiple choice learning (MATPAC++, 2508.12709).

All are in float32, and no gradient reaches a target.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def direction_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """``|p/|p| - t/|t||^2 = 2 - 2 cos(p, t)`` of vectors ``(..., D)``: ``(...)``."""
    p, t = F.normalize(predicted.float(), dim=-1), F.normalize(target.detach().float(), dim=-1)
    return 2 - 2 * (p * t).sum(dim=-1)


@dataclass
class Choice:
    """How tokens are given to hypotheses.

    Attributes:
        loss: scalar.
        winner: ``(...)`` int64, the hypothesis nearest to the target.
        shares: ``(..., R)``, rows of sum 1, without gradient.
    """

    loss: Tensor
    winner: Tensor
    shares: Tensor


def multiple_choice(distances: Tensor, temperature: float | None) -> Choice:
    """Mean over tokens of the distance to a soft, or to the best, choice among R hypotheses.

    Args:
        distances: ``(..., R)``.
        temperature: of the shares ``softmax(-distance / T)`` (annealed multiple choice learning, Perera et al.
            2024, arXiv 2407.15580); ``None``: all of a token goes to its nearest hypothesis.
    """
    fixed = distances.detach()
    winner = fixed.argmin(dim=-1)
    if temperature is None:
        shares = F.one_hot(winner, distances.shape[-1]).to(distances.dtype)
    else:
        shares = (-fixed / temperature).softmax(dim=-1)
    return Choice((shares * distances).sum(dim=-1).mean(), winner, shares)


def take_winner(predictions: Tensor, winner: Tensor) -> Tensor:
    """``(..., R, D)`` and ``(...)`` int64 to ``(..., D)``: each token's nearest hypothesis."""
    index = winner[..., None, None].expand(*winner.shape, 1, predictions.shape[-1])
    return predictions.gather(-2, index).squeeze(-2)


def classification(logits: Tensor, target: Tensor, temperature: float) -> Tensor:
    """Mean over tokens of the cross-entropy ``-sum_k t_k log softmax(logits / T)_k``; all ``(..., K)``."""
    return -(target.detach() * (logits.float() / temperature).log_softmax(dim=-1)).sum(dim=-1).mean()


def perplexity(probabilities: Tensor) -> Tensor:
    """``exp`` of the entropy of ``(..., K)``: ``(...)``, from 1 to K."""
    return (-torch.special.xlogy(probabilities, probabilities).sum(dim=-1)).exp()
