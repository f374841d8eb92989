"""A teacher of clips made of a teacher of frames: the mean of what it says over a recording."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from codec.align.types import Alignment, Utterance
from codec.data import Clip
from codec.errors import CodecError
from codec.teachers.features.cache import ClipFeatures, FeatureInfo
from codec.teachers.registry import Teacher, build_teacher, teacher


@dataclass(frozen=True)
class PooledConfig:
    """Options of a pooled teacher."""

    of: dict[str, Any] = field(default_factory=dict)
    """The teacher whose frames are pooled: its type and that type's keys."""
    pool: Literal["mean", "mean_std"] = "mean"
    """Over a clip's frames: their mean, or mean and standard deviation one after the other."""


@teacher("pooled")
class PooledTeacher:
    """One vector for a clip, ``(1, D)`` or ``(1, 2 D)``; frames that the teacher masks do not count."""

    Config = PooledConfig

    def __init__(self, config: PooledConfig):
        self._pool, self._frames = config.pool, _inner(config.of)
        self.sample_rate, self.needs_words = self._frames.sample_rate, self._frames.needs_words
        inner = self._frames.info
        self.info: FeatureInfo = dataclasses.replace(
            inner,
            mode=f"{inner.mode} {config.pool}",
            dim=inner.dim * (2 if config.pool == "mean_std" else 1),
            level="clip",
            options="",
        )

    def prepare(self, clips: list[Clip], words: dict[str, Alignment]) -> None:
        """As the pooled teacher does."""
        self._frames.prepare(clips, words)

    def features(self, batch: list[Utterance]) -> list[ClipFeatures]:
        """One vector and one mask value per utterance."""
        return [self._pooled(features) for features in self._frames.features(batch)]

    def _pooled(self, features: ClipFeatures) -> ClipFeatures:
        rows = features.features.float()
        frames = (rows if features.index is None else rows[features.index])[features.mask]
        if not len(frames):
            return ClipFeatures(torch.zeros(1, self.info.dim), torch.zeros(1, dtype=torch.bool))
        return ClipFeatures(pool_frames(frames, self._pool)[None], torch.ones(1, dtype=torch.bool))


def pool_frames(frames: Tensor, pool: Literal["mean", "mean_std"]) -> Tensor:
    """``(T, D)`` frames, T > 0, to ``(D,)`` or ``(2 D,)``."""
    mean = frames.mean(dim=0)
    if pool == "mean":
        return mean
    return torch.cat([mean, frames.std(dim=0, unbiased=False)])


def _inner(options: dict[str, Any]) -> Teacher:
    if not options:
        raise CodecError("teacher of type pooled: set of.type, of.model, ... to the teacher whose frames are pooled")
    found = build_teacher("pooled.of", options)
    if found.info.level == "clip":
        raise CodecError(f"teacher {found.info.teacher}: has one vector for a clip already; leave out type: pooled")
    return found
