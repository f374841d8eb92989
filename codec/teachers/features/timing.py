"""Match the codec's frames with a teacher's frames, by time and never by index.

```
 codec    |--0--|--1--|--2--|    frame f of a crop: (f + 1/2) * hop / rate seconds after its start
 clip   ......................   times the speed it is played at
 teacher   0     1     2     3   frame i is centred on offset + i / rate seconds of the clip
```

A HuBERT of 50 Hz has 149 frames in 3 s and a codec of 50 Hz has 150; frame 0 of the former is
centred on 12.5 ms, of the latter on 10 ms. Comparing centres pairs the first 149 and masks the last.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

TIE = 1e-6
"""Teacher frames; how far beyond the middle a time still goes to the earlier frame."""


@dataclass(frozen=True)
class Crop:
    """A piece of a clip as the codec sees it.

    Attributes:
        start: first sample, counted in the clip as played (after a change of speed).
        num_frames: codec frames of the crop.
        hop: samples a codec frame.
        sample_rate: Hz of the codec.
        speed: source seconds per played second; 1.1 plays the clip faster.
    """

    start: int
    num_frames: int
    hop: int
    sample_rate: int
    speed: float = 1.0

    def times(self) -> Tensor:
        """``(num_frames,)`` float64: centres of the codec's frames, in seconds of the source clip."""
        centres = (torch.arange(self.num_frames, dtype=torch.float64) + 0.5) * self.hop
        return (self.start + centres) / self.sample_rate * self.speed


@dataclass(frozen=True)
class CropFrames:
    """A teacher's frames for one crop.

    Attributes:
        features: ``(T, D)`` float32, zero where masked.
        mask: ``(T,)`` bool.
    """

    features: Tensor
    mask: Tensor


class FrameStore(Protocol):
    """A source of clips' teacher frames; see :class:`CachedFeatures`."""

    rate: float
    offset: float
    mode: str
    smooth: bool
    num_frames: int

    def slice(self, first: int, last: int) -> "tuple[Tensor, Tensor]":
        """``(last - first, D)`` features and ``(last - first,)`` mask of frames first to last - 1."""


def crop_frames(store: FrameStore, crop: Crop, interpolate: bool = False) -> CropFrames:
    """The teacher's view of a crop, on the codec's frames.

    The nearest frame is taken, the earlier one of two that are equally near; with ``interpolate``
    the two neighbours are mixed linearly, and the frame is masked where either is. Frames whose time
    lies outside the teacher's are masked. Features of mode ``index`` have no times: row i belongs to
    frame i of whatever crop is taken, as in DM-Codec's released code.

    A store that is ``smooth`` says itself how: a teacher of twice the codec's rate or more gives the mean of
    its frames whose centres a codec frame covers, a slower one is interpolated.
    """
    if store.mode == "index":
        position = torch.arange(crop.num_frames, dtype=torch.float64)
    else:
        position = (crop.times() - store.offset) * store.rate
    if store.smooth:
        covered = store.rate * crop.hop / crop.sample_rate * crop.speed
        if covered >= 2 - TIE:
            return _mean_of_covered(store, position, covered)
        interpolate = True
    if not interpolate:
        return _gather(store, torch.ceil(position - 0.5 - TIE).long())
    lower = torch.floor(position + TIE).long()
    weight = (position - lower).clamp(0, 1).float()[:, None]
    near = _gather(store, lower)
    far = _gather(store, torch.where(weight[:, 0] > TIE, lower + 1, lower))
    mask = near.mask & far.mask
    mixed = near.features.float() * (1 - weight) + far.features.float() * weight
    return CropFrames(mixed * mask[:, None], mask)


def _mean_of_covered(store: FrameStore, position: Tensor, covered: float) -> CropFrames:
    """Means of the unmasked frames in ``position`` plus or minus half of ``covered`` teacher frames."""
    start = torch.ceil(position - covered / 2 - TIE).long().clamp(0, store.num_frames)
    stop = torch.ceil(position + covered / 2 - TIE).long().clamp(0, store.num_frames)
    first, last = int(start.min()), int(stop.max())
    features, mask = store.slice(first, last)
    counted = torch.cat([features.double() * mask[:, None], mask.double()[:, None]], dim=1)
    sums = torch.nn.functional.pad(counted.cumsum(dim=0), (0, 0, 1, 0))
    sums = sums[stop - first] - sums[start - first]
    count = sums[:, -1:]
    return CropFrames((sums[:, :-1] / count.clamp(min=1)).float(), count[:, 0] > 0)


def _gather(store: FrameStore, index: Tensor) -> CropFrames:
    """Frames at ``index (T,)``; only the slice between the smallest and the largest is read."""
    inside = (index >= 0) & (index < store.num_frames)
    if not bool(inside.any()):
        empty, _ = store.slice(0, 0)
        return CropFrames(empty.new_zeros(len(index), empty.shape[1]), inside)
    first, last = int(index[inside].min()), int(index[inside].max()) + 1
    features, mask = store.slice(first, last)
    local = index.clamp(first, last - 1) - first
    mask = mask[local] & inside
    return CropFrames(features[local] * mask[:, None], mask)
