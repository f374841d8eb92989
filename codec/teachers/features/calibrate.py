"""Means and variances of a teacher's dimensions, from some of its clips, before the first step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.data import Clip
from codec.errors import CodecError
from codec.teachers.features.view import FeatureReader

CLIPS = 64
"""Clips, evenly spread over those that the teacher sees."""


@dataclass(frozen=True)
class TargetStatistics:
    """Moments of a teacher's targets.

    Attributes:
        mean: ``(D,)`` float32.
        variance: ``(D,)`` float32.
        count: frames, or vectors of level clip.
    """

    mean: Tensor
    variance: Tensor
    count: int


def calibrate(name: str, reader: FeatureReader, clips: list[Clip], num_clips: int = CLIPS) -> TargetStatistics:
    """Moments of the unmasked frames of ``num_clips`` clips, the same ones whenever the list is the same.

    Hidden states differ in scale by layer, model and dimension (a few are tens of times larger than the
    rest: Timkey and van Schijndel 2021, arXiv 2109.04404); once centred and scaled, one weight means the same
    for all teachers.

    Args:
        name: of the teacher, for errors.
        reader: gives a clip's features, computing what is not there.
        clips: those that the teacher sees.

    Raises:
        CodecError: when no frame counts, a feature is not finite, or none varies.
    """
    count = min(num_clips, len(clips))
    chosen = [clips[number * len(clips) // count] for number in range(count)]
    frames = torch.cat([_rows(reader, clip) for clip in chosen]) if chosen else torch.zeros(0, 1)
    if not len(frames):
        raise CodecError(f"teachers.{name}: says nothing about any of {count} clips; look at its domains and texts")
    if not bool(frames.isfinite().all()):
        raise CodecError(f"teachers.{name}: its features are not finite; extract them again")
    mean, variance = frames.mean(dim=0), frames.var(dim=0, correction=0)
    if len(frames) > 1 and not bool((variance > 0).any()):
        raise CodecError(f"teachers.{name}: gives the same features for all of {count} clips; it teaches nothing")
    return TargetStatistics(mean.float(), variance.float(), len(frames))


def _rows(reader: FeatureReader, clip: Clip) -> Tensor:
    """``(N, D)`` float64: what counts of a clip."""
    features = reader.read(clip)
    if features.level == "clip":
        vector, counts = features.vector()
        return vector.double()[None][counts.reshape(1)]
    frames, mask = features.slice(0, features.num_frames)
    return frames.double()[mask]
