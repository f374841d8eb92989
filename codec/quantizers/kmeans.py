"""K-means for codebook initialisation, in memory linear in the number of vectors."""

import torch
from torch import Tensor

from codec.quantizers.rvq import nearest


def kmeans(vectors: Tensor, count: int, iterations: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm from randomly chosen vectors; empty clusters restart at random vectors.

    Args:
        vectors: ``(N, D)``, N may be smaller than ``count``.
        count: number of centroids.
        iterations: rounds of assignment and averaging.
        generator: on the CPU, so that every device draws the same.

    Returns:
        ``(count, D)`` centroids.
    """
    centroids = draw_rows(vectors, count, generator)
    for _ in range(iterations):
        sizes, sums = cluster_sums(vectors, nearest(vectors, centroids), count)
        restarts = draw_rows(vectors, count, generator)
        means = sums / sizes.clamp(min=1).unsqueeze(1)
        centroids = torch.where(sizes.unsqueeze(1) > 0, means, restarts)
    return centroids


def cluster_sums(vectors: Tensor, codes: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Number ``(count,)`` and sum ``(count, D)`` of the vectors that fell to each code."""
    sizes = vectors.new_zeros(count).index_add_(0, codes, vectors.new_ones(len(codes)))
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, codes, vectors)
    return sizes, sums


def draw_rows(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """``(count, D)`` rows: without repetition while they last, then with."""
    available = len(vectors)
    if available >= count:
        chosen = torch.randperm(available, generator=generator)[:count]
    else:
        chosen = torch.randint(available, (count,), generator=generator)
    return vectors[chosen.to(vectors.device)]
