"""Teacher features with mean 0 and variance 1 in each dimension."""

import torch
from torch import Tensor, nn

from codec.teachers.features.calibrate import TargetStatistics
from codec.train.distributed import all_reduce_sum

# Past this many frames the estimate becomes a moving average, which also keeps float32 exact enough.
_HORIZON = 1_000_000.0
_RELATIVE_FLOOR = 1e-3
"""Of a calibrated variance, as a part of the median one."""


class Standardize(nn.Module):
    """Mean and variance over unmasked frames, applied to the features: running ones, or those of a calibration.

    Hidden states of language models have a few dimensions tens of times larger than the rest
    (Timkey and van Schijndel 2021, arXiv 2109.04404); they alone would set a cosine over features
    or an L1 distance. The statistics are buffers, equal in all processes. Running ones move in training
    only; those of a calibration never do.
    """

    count: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, dim: int, calibration: TargetStatistics | None = None):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("variance", torch.ones(dim))
        self._moves, self._floor = calibration is None, 1e-5
        if calibration is not None:
            # A dimension that hardly moved in the calibration must not explode when it does.
            varied = calibration.variance[calibration.variance > 0]
            self._floor = _RELATIVE_FLOOR * float(varied.median()) if len(varied) else 1e-5
            self.mean.copy_(calibration.mean)
            self.variance.copy_(calibration.variance)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """``features (B, T, D)``, ``mask (B, T)`` to ``(B, T, D)``; what is masked is arbitrary."""
        if self.training and self._moves:
            self._update(features, mask)
        return (features - self.mean) / (self.variance + self._floor).sqrt()

    @torch.no_grad()
    def _update(self, features: Tensor, mask: Tensor) -> None:
        """Merge the batch's moments into the running ones (Chan et al. 1979)."""
        # Deviations from the running mean keep the sums small.
        deviation = (features - self.mean).masked_fill(~mask.unsqueeze(2), 0.0).flatten(0, 1)
        sums = torch.stack([deviation.sum(dim=0), deviation.square().sum(dim=0)])
        packed = all_reduce_sum(torch.cat([sums.flatten(), mask.sum().to(sums).view(1)]))
        new, count = packed[-1], self.count + packed[-1]
        sums = packed[:-1].view(2, -1)
        shift = sums[0] / count.clamp(min=1.0)
        # Before the first frame the buffers hold no sample, so their weight is zero.
        spread = (self.variance * self.count + sums[1]) / count.clamp(min=1.0) - shift.square()
        self.variance.copy_(torch.where(count > 0, spread.clamp(min=0.0), self.variance))
        self.mean.add_(torch.where(new > 0, shift, torch.zeros_like(shift)))
        self.count.copy_(count.clamp(max=_HORIZON))
