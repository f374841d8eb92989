"""Choice of the crop for a slot of a step: a function of (seed, step, slot) only.

Slots are numbered over all processes, so two processes with half the batch each see what one
process with the whole batch sees, and a resumed run sees what an uninterrupted one would.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from codec.data.augment import Augmentation, AugmentationConfig, draw_augmentation
from codec.data.store import AudioStore
from codec.errors import CodecError

MUSIC = "music"
"""The domain that the augmentation of that name takes its audio from."""


@dataclass(frozen=True)
class CropPlan:
    """One slot of one step.

    Attributes:
        clip: index into the store.
        start: first sample of the source.
        length: source samples, ``crop length * speed``.
        augmentation: drawn values.
        music: clip and first sample of what is mixed in, if anything.
    """

    clip: int
    start: int
    length: int
    augmentation: Augmentation
    music: tuple[int, int] | None = None


class CropPlanner:
    """Draws crops: a clip by weight, then a start uniformly over the places where a crop fits."""

    def __init__(
        self,
        store: AudioStore,
        crop_length: int,
        seed: int,
        domain_weights: Mapping[str, float] | None = None,
        augmentation: AugmentationConfig | None = None,
        domain_quota: Mapping[str, int] | None = None,
    ):
        """
        Args:
            store: the audio.
            crop_length: samples of a crop.
            seed: of the run.
            domain_weights: share of crops by domain, any scale; clips of domains that are not
                named are not used. By default all seconds of audio are equally likely.
            augmentation: none by default.
            domain_quota: crops by domain in every step, of the slots 0 to their sum; instead of shares.

        Raises:
            CodecError: for a domain without clips, both shares and quotas, or music to mix in and none in the
                manifests.
        """
        self.store, self.crop_length, self.seed = store, crop_length, seed
        self.augmentation = augmentation or AugmentationConfig()
        if domain_weights and domain_quota:
            raise CodecError("data.domain_weights, data.domain_quota: shares and exact numbers; keep one of them")
        weights = {name: clip_weights(store, {name: 1.0}, "domain_quota") for name in domain_quota or {}}
        by_domain = {name: np.cumsum(values) for name, values in weights.items()}
        self._of_slots = [by_domain[name] for name in spread_quota(domain_quota or {})]
        self._cumulative = np.cumsum(clip_weights(store, domain_weights or {}))
        music = np.array([clip.domain == MUSIC for clip in store.clips])
        self._music = np.cumsum(np.where(music, store.lengths, 0))
        if self.augmentation.music_probability > 0 and not store.lengths[music].any():
            raise CodecError(
                f"data.augmentation.music_probability is {self.augmentation.music_probability}, but no "
                f"clip of the domain {MUSIC!r} can be read; add a manifest with music or set it to 0"
            )

    def plan(self, step: int, slot: int) -> CropPlan:
        """The crop of a slot (numbered over all processes) in a step."""
        # Philox is a function of key and counter: no stream to fast-forward on resume.
        bits = np.random.Philox(key=self.seed, counter=[0, 0, slot, step])
        rng = np.random.Generator(bits)
        clip, position, music_clip, music_position = rng.random(4)
        augmentation = draw_augmentation(self.augmentation, rng)
        chosen = _pick(self._of_slots[slot] if self._of_slots else self._cumulative, clip)
        length = round(self.crop_length * augmentation.speed)
        music = None
        if augmentation.music_snr_db is not None:
            other = _pick(self._music, music_clip)
            music = other, self._start(other, self.crop_length, music_position)
        return CropPlan(chosen, self._start(chosen, length, position), length, augmentation, music)

    def _start(self, clip: int, length: int, position: float) -> int:
        return int(position * max(0, int(self.store.lengths[clip]) - length + 1))


def spread_quota(quota: Mapping[str, int]) -> list[str]:
    """Domain of each slot, every domain spread evenly over the slots, so that processes get like shares.

    Raises:
        CodecError: for a quota that is no positive number.
    """
    for name, count in quota.items():
        if count < 1:
            raise CodecError(f"data.domain_quota.{name}: {count} crops; name only domains with one or more")
    places = [((number + 0.5) / count, name) for name, count in quota.items() for number in range(count)]
    return [name for _, name in sorted(places)]


def clip_weights(
    store: AudioStore, domain_weights: Mapping[str, float], setting: str = "domain_weights"
) -> np.ndarray:
    """``(clips,)`` float64 weights: by duration, scaled so that domains get their shares.

    Raises:
        CodecError: naming the setting, for a domain without clips.
    """
    weights = store.lengths.astype(np.float64)
    if not domain_weights:
        return weights
    domains = np.array([clip.domain for clip in store.clips])
    for name in domain_weights:
        if not (domains == name).any():
            known = ", ".join(sorted(set(domains.tolist())))
            raise CodecError(
                f"data.{setting}: no clip of the domain {name!r}; there are: {known}; "
                f"data.{setting}=null takes all alike"
            )
        if not weights[domains == name].any():
            raise CodecError(f"data.{setting}: no clip of the domain {name!r} can be read")
    shares = list(domain_weights.values())
    if not all(0 <= share < math.inf for share in shares) or not any(shares):
        raise CodecError(f"data.{setting}: {shares} must be numbers of 0 or more, not all of them 0")
    scaled = np.zeros_like(weights)
    for name, share in domain_weights.items():
        inside = domains == name
        scaled[inside] = weights[inside] / weights[inside].sum() * share
    return scaled


def _pick(cumulative: np.ndarray, position: float) -> int:
    return int(np.searchsorted(cumulative, position * cumulative[-1], side="right"))
