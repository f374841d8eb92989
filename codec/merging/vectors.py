"""Task vectors: what a branch learned is ``tau = theta - theta0``, and vectors add up.

Everything here is a function of state dicts (name to tensor) with the same names and shapes, computed in
float64 and returned in the base's types. Three methods:

- ``linear``: ``theta0 + sum_k lambda_k tau_k`` (task arithmetic, Ilharco et al. 2023; Ritter et al. 2025,
  arXiv 2505.13270). With ``lambda_k = alpha / K`` it is Speech-FT's interpolation (arXiv 2502.12672).
- ``ties``: trim, elect signs, average what agrees (Yadav et al. 2023, arXiv 2306.01708, algorithm 1).
- ``dare``: drop entries at random and rescale the others, then linear (Yu et al. 2024, arXiv 2311.03099).
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Method = Literal["linear", "ties", "dare"]
Weights = Sequence[Mapping[str, float]]
"""Of each branch: lambda of each tensor, by its name."""


@dataclass(frozen=True)
class Recipe:
    """How vectors are combined.

    Attributes:
        method: one of the three.
        density: share of entries that ``ties`` keeps of each vector, and that ``dare`` keeps on average.
        seed: of the entries that ``dare`` drops.
    """

    method: Method = "linear"
    density: float = 1.0
    seed: int = 0


def combine(
    base: State,
    branches: Sequence[State],
    weights: Weights,
    recipe: Recipe | None = None,
    keys: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """The merged state.

    Args:
        base: theta0.
        branches: theta_k, with the base's names and shapes.
        weights: lambda_k of each branch and tensor, of any sign and sum.
        recipe: linear by default.
        keys: what stands for each branch in the random draws of ``dare``, so that they do not depend on the
            branches' order; their numbers by default.
    """
    recipe = recipe or Recipe()
    if recipe.method == "ties":
        return ties(base, branches, weights, recipe.density)
    if recipe.method == "dare":
        keys = keys or [str(number) for number in range(len(branches))]
        branches = [
            dare(base, branch, recipe.density, f"{recipe.seed}/{key}")
            for branch, key in zip(branches, keys, strict=True)
        ]
    return linear(base, branches, weights)


def linear(base: State, branches: Sequence[State], weights: Weights) -> dict[str, Tensor]:
    """``theta0 + sum_k lambda_k tau_k``, as ``(1 - sum_k lambda_k) theta0 + sum_k lambda_k theta_k``.

    In the second form a lambda of 0 or 1 rounds nothing: the result is the base, or the branch, bit for bit.
    The terms of an entry are added in the order of their size, so that the branches' order does not matter.
    """
    merged = {}
    for name, start in base.items():
        factors = [weight[name] for weight in weights]
        tensors = [start, *(branch[name] for branch in branches)]
        pairs = zip(tensors, [1 - math.fsum(factors), *factors], strict=True)
        terms = [tensor.double() * factor for tensor, factor in pairs if factor]
        # A single term is not added to anything, which would turn -0 into 0.
        total = terms[0] if len(terms) == 1 else torch.stack(terms).sort(dim=0).values.sum(dim=0)
        merged[name] = total.to(start.dtype)
    return merged


def ties(base: State, branches: Sequence[State], weights: Weights, density: float) -> dict[str, Tensor]:
    """Trim each vector to its largest entries, elect a sign for each entry, average the vectors that have it.

    With ``v_k = lambda_k trim(tau_k)`` the sign is that of ``sum_k v_k`` and the result is
    ``theta0 + mean|lambda| * sum_agreeing v_k / sum_agreeing |lambda_k|``: for equal lambdas the published
    ``theta0 + lambda * mean of the agreeing``. A branch whose lambda is 0 has no part in a tensor, not in the mean
    of the lambdas either.
    """
    vectors = [trim(difference(branch, base), density) for branch in branches]
    merged = {}
    for name, start in base.items():
        parts = [(weight[name], vector[name]) for weight, vector in zip(weights, vectors, strict=True) if weight[name]]
        if not parts:
            merged[name] = start.clone()
            continue
        shape = (-1,) + (1,) * start.ndim
        factors = torch.tensor([factor for factor, _ in parts], dtype=torch.float64).view(shape)
        scaled = factors * torch.stack([vector for _, vector in parts])
        elected = scaled.sort(dim=0).values.sum(dim=0).sign()
        agrees = (scaled.sign() == elected) & (elected != 0)
        kept = (scaled * agrees).sort(dim=0).values.sum(dim=0)
        share = (factors.abs() * agrees).sort(dim=0).values.sum(dim=0)
        step = factors.abs().mean() * kept / share.where(share > 0, torch.ones_like(share))
        merged[name] = torch.where(step == 0, start, (start.double() + step).to(start.dtype))
    return merged


def trim(vector: State, density: float) -> dict[str, Tensor]:
    """The vector with zeros in place of all but its largest entries, over all tensors together.

    Args:
        density: share of entries to keep; entries as large as the smallest of them stay too.
    """
    sizes = torch.cat([tensor.abs().flatten() for tensor in vector.values()])
    count = round(density * sizes.numel())
    if count == 0:
        return {name: torch.zeros_like(tensor) for name, tensor in vector.items()}
    least = sizes.kthvalue(sizes.numel() - count + 1).values
    return {name: tensor.where(tensor.abs() >= least, 0.0) for name, tensor in vector.items()}


def dare(base: State, branch: State, density: float, key: str) -> dict[str, Tensor]:
    """The branch with a share ``1 - density`` of its vector dropped at random, the rest divided by ``density``.

    Args:
        key: decides which entries; the same for the same key and tensor name.
    """
    if density == 1:
        return {name: branch[name] for name in base}
    thinned = {}
    for name, start in base.items():
        digest = hashlib.sha256(f"{key}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
        keeps = torch.rand(start.shape, generator=generator, dtype=torch.float64) < density
        first, last = start.double(), branch[name].double()
        thinned[name] = torch.where(keeps, first + (last - first) / density, first)
    return thinned


def difference(branch: State, base: State) -> dict[str, Tensor]:
    """The task vector, in float64."""
    return {name: branch[name].double() - start.double() for name, start in base.items()}


def norm(vector: State) -> float:
    """Euclidean length over all tensors."""
    return math.sqrt(dot(vector, vector))


def dot(first: State, second: State) -> float:
    """Inner product over all tensors, in float64."""
    products = ((first[name].double() * second[name].double()).sum() for name in first)
    return math.fsum(float(product) for product in products)


def cosine(first: State, second: State) -> float | None:
    """Of the angle between two vectors; ``None`` where one has no length."""
    lengths = norm(first) * norm(second)
    return dot(first, second) / lengths if lengths else None
