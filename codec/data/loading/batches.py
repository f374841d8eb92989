"""Batches of crops: which crops, cut, augmented and stacked with the teachers' frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

import numpy as np
import torch

from codec.data.augment import augment, change_speed
from codec.data.batch import Batch, TeacherClip, TeacherFrames
from codec.data.crops import CropPlan, CropPlanner
from codec.data.manifest import Clip
from codec.teachers.features import CachedFeatures, Crop, CropFrames, crop_frames
from codec.teachers.features.view import NoFeatures


class FeatureSource(Protocol):
    """A cache of features, or something that fills one."""

    def read(self, clip: Clip) -> CachedFeatures | NoFeatures: ...


@dataclass(frozen=True)
class CropAudio:
    """One crop, ready for a batch.

    Attributes:
        wav: ``(T,)`` float32, zero after the clip's end.
        num_frames: frames that hold anything of the clip.
    """

    wav: np.ndarray
    num_frames: int


class CropBatches:
    """Makes the batch of a step for one process."""

    def __init__(
        self,
        planner: CropPlanner,
        hop_length: int,
        batch_size: int,
        rank: int = 0,
        features: Mapping[str, FeatureSource] | None = None,
    ):
        """
        Args:
            planner: says which crops.
            hop_length: samples per frame; the planner's crops are a whole number of frames.
            batch_size: of this process.
            rank: of this process; its slots are ``rank * batch_size`` and the following.
            features: where teachers' features come from, by the teacher's name.
        """
        self.planner, self.hop_length = planner, hop_length
        self.slots = range(rank * batch_size, (rank + 1) * batch_size)
        self.features = features or {}
        # Threads take turns at a source: it may be a network that works on the fly.
        self._lock = Lock()

    def batch(self, step: int) -> Batch:
        """The crops of a step, on the CPU."""
        plans = [self.planner.plan(step, slot) for slot in self.slots]
        crops = [self.audio(plan) for plan in plans]
        lengths = torch.tensor([crop.num_frames for crop in crops])
        frames = self.planner.crop_length // self.hop_length
        mask = torch.arange(frames) < lengths.unsqueeze(1)
        teachers = {name: self._teacher(source, plans, mask) for name, source in self.features.items()}
        wav = torch.from_numpy(np.stack([crop.wav for crop in crops]))
        return Batch(wav=wav, mask=mask, teachers=teachers, texts=tuple(self._text(plan) for plan in plans))

    def audio(self, plan: CropPlan) -> CropAudio:
        """Read, change the speed, pad, augment; audio after the clip's end is cut off again."""
        store, length = self.planner.store, self.planner.crop_length
        source = store.read(plan.clip, plan.start, plan.length)
        used = min(length, round(len(source) / plan.augmentation.speed))
        wav = change_speed(source, plan.augmentation.speed, length)
        music = None
        if plan.music is not None:
            music = store.read(*plan.music, length)
            music = np.pad(music, (0, length - len(music)))
        wav = augment(wav, plan.augmentation, store.sample_rate, music)
        wav[used:] = 0.0
        return CropAudio(wav, max(1, -(-used // self.hop_length)))

    def _text(self, plan: CropPlan) -> str | None:
        store = self.planner.store
        whole = int(store.lengths[plan.clip]) <= plan.length
        return store.clips[plan.clip].text if whole else None

    def _teacher(self, source: FeatureSource, plans: list[CropPlan], mask: torch.Tensor) -> TeacherFrames | TeacherClip:
        clips = [self._read(source, plan) for plan in plans]
        if clips[0].level == "clip":
            vectors, counts = zip(*(clip.vector() for clip in clips), strict=True)
            return TeacherClip(torch.stack(vectors), torch.stack(counts))
        crops = [self._teacher_crop(clip, plan) for clip, plan in zip(clips, plans, strict=True)]
        features = torch.stack([crop.features for crop in crops])
        return TeacherFrames(features, torch.stack([crop.mask for crop in crops]) & mask)

    def _teacher_crop(self, clip: CachedFeatures | NoFeatures, plan: CropPlan) -> CropFrames:
        store, speed = self.planner.store, plan.augmentation.speed
        crop = Crop(
            start=round(plan.start / speed),
            num_frames=self.planner.crop_length // self.hop_length,
            hop=self.hop_length,
            sample_rate=store.sample_rate,
            speed=speed,
        )
        return crop_frames(clip, crop)

    def _read(self, source: FeatureSource, plan: CropPlan) -> CachedFeatures | NoFeatures:
        with self._lock:
            return source.read(self.planner.store.clips[plan.clip])
