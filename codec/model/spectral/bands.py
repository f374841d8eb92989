"""Bands of a spectrum, narrow at low and wide at high frequencies: loudness at bands, and at frequencies."""

import math

import torch
from torch import Tensor


def gain_matrix(bands: int, bins: int) -> Tensor:
    """``(bands, bins)``: linear interpolation between bands.

    They lie evenly on ``log(1 + 12 f)``, f from 0 to 1 at half the sample rate; columns sum to one.
    """
    frequency = torch.linspace(0, 1, bins, dtype=torch.float64)
    position = torch.log1p(12 * frequency) / math.log(13) * (bands - 1)
    distance = (position - torch.arange(bands).unsqueeze(1)).abs()
    return (1 - distance).clamp(min=0).float()


def resample_bands(rows: Tensor, bands: int) -> Tensor:
    """``rows (n, ...)``, one for each of n bands of :func:`gain_matrix`, as those of ``bands`` bands: interpolated."""
    if len(rows) == bands:
        return rows
    place = torch.linspace(0, len(rows) - 1, bands, dtype=torch.float64)
    weights = (1 - (place.unsqueeze(1) - torch.arange(len(rows))).abs()).clamp(min=0).to(rows)
    return torch.tensordot(weights, rows, dims=1)


def band_means(bands: int, bins: int) -> Tensor:
    """``(bins, bands)``: the mean around each band of :func:`gain_matrix`; columns sum to one."""
    weights = gain_matrix(bands, bins)
    return (weights / weights.sum(1, keepdim=True)).t().contiguous()
