"""Crops with their masks, and the clips that they come from, checked before the first step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from codec.data.clusters import WeightedDraws
from codec.data.crops import clip_weights
from codec.data.store import AudioStore
from codec.errors import CodecError
from codec.pretraining.tasks.config import MaskedDataConfig


class Masks(Protocol):
    """How a crop's tokens are divided."""

    @property
    def visible(self) -> int:
        """Tokens that are seen."""

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """``(N,)`` int64, places of all tokens, those that are seen first."""


@dataclass
class MaskedBatch:
    """Crops of one step.

    Attributes:
        wav: ``(B, window)`` float32.
        order: ``(B, N)`` int64, places of the tokens, those that are seen first.
    """

    wav: Tensor
    order: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "MaskedBatch":
        """A batch of what ``change`` makes of each tensor."""
        return MaskedBatch(change(self.wav), change(self.order))

    def pin_memory(self) -> "MaskedBatch":
        """A copy in page-locked memory, from where copies to a GPU run at the same time as its work."""
        return self.map(Tensor.pin_memory)


class MaskedBatches:
    """Makes the batch of a step for one process. Crop and mask are functions of the seed, the step and the slot."""

    def __init__(self, store: AudioStore, window: int, weights: np.ndarray, masks: Masks, seed: int, slots: range):
        """
        Args:
            store: the audio, at the encoder's rate.
            window: samples of a crop.
            weights: ``(clips,)``, how often each is drawn; 0 for one that is shorter than a crop.
            masks: draws what is hidden.
            seed: of the run.
            slots: of this process, of those of all.
        """
        self.store, self.window, self.masks, self.slots = store, window, masks, slots
        self._draws, self._seed = WeightedDraws(weights, seed), seed

    def batch(self, step: int) -> MaskedBatch:
        """The crops of a step, on the CPU."""
        chosen = [self._draws.draw(step, slot) for slot in self.slots]
        return self.crops(chosen, [self._order(step, slot) for slot in self.slots])

    def fixed(self, clips: list[int]) -> MaskedBatch:
        """The middles of some clips, with masks that are the same in every run of this seed."""
        orders = [self._order(2**62, slot) for slot in range(len(clips))]
        return self.crops([(clip, 0.5) for clip in clips], orders)

    def crops(self, chosen: list[tuple[int, float]], orders: list[np.ndarray]) -> MaskedBatch:
        """Crops of clips, each at a place in [0, 1) of where one fits."""
        wavs = []
        for clip, place in chosen:
            spare = int(self.store.lengths[clip]) - self.window
            wavs.append(torch.from_numpy(self.store.read(clip, int(place * (spare + 1)), self.window)))
        return MaskedBatch(torch.stack(wavs), torch.from_numpy(np.stack(orders)))

    def _order(self, step: int, slot: int) -> np.ndarray:
        # The 1 keeps these draws apart from those of the crops.
        bits = np.random.Philox(key=self._seed, counter=[0, 1, slot, step])
        return self.masks.order(np.random.Generator(bits)).astype(np.int64)


@dataclass(frozen=True)
class Division:
    """Which clips of a store are for what.

    Attributes:
        training: ``(clips,)`` float64, how often each is drawn.
        held_out: indices of the clips that are kept aside.
        left_out: how many clips are not used, by what is wrong with them.
    """

    training: np.ndarray
    held_out: list[int]
    left_out: dict[str, int]


def divide(store: AudioStore, window: int, config: MaskedDataConfig) -> Division:
    """Find the clips that can be cropped, and keep some of them aside.

    Raises:
        CodecError: for clips that are too short or silent, unless the config leaves them out, and when
            too few are left.
    """
    lengths = store.lengths
    known = lengths > 0
    short = known & (lengths < window)
    seconds = window / store.sample_rate
    if short.any() and not config.skip_short:
        first = store.clips[int(short.argmax())]
        raise CodecError(
            f"{first.path}: shorter than a crop of {seconds:.2f} s, as {int(short.sum())} of {len(lengths)} clips are; "
            "set data.skip_short=true to leave them out, or shorter crops"
        )
    usable = known & ~short
    silent = [clip for clip in np.flatnonzero(usable).tolist() if _silent(store, clip)]
    if silent and not config.skip_bad_audio:
        raise CodecError(
            f"{store.clips[silent[0]].path}: silent from start to end; set data.skip_bad_audio=true to leave such "
            "clips out"
        )
    usable[silent] = False
    found = np.flatnonzero(usable)
    if len(found) <= config.held_out:
        raise CodecError(
            f"config data.held_out: {config.held_out} clips are to be kept aside, and {len(found)} are long enough for "
            f"a crop of {seconds:.2f} s; set fewer, shorter crops, or add data"
        )
    aside = [int(found[number * len(found) // config.held_out]) for number in range(config.held_out)]
    usable[aside] = False
    left_out = {"shorter than a crop": int(short.sum()), "silent": len(silent)}
    return Division(_weights(store, usable, config.domain_weights), aside, left_out)


def check_classes(classes: int, store: AudioStore, division: Division, tokens: int, window: int) -> None:
    """Raise a :class:`CodecError` when there are more classes than the training clips could ever fill.

    Args:
        classes: K.
        tokens: of a crop.
        window: samples of a crop.
    """
    available = int((store.lengths[division.training > 0] // window).sum()) * tokens
    if classes > available:
        raise CodecError(
            f"config classes.count: {classes} classes, and the training clips hold {available} tokens; set fewer "
            "classes or add data"
        )


def _silent(store: AudioStore, clip: int) -> bool:
    start, end = int(store.offsets[clip]), int(store.offsets[clip + 1])
    middle = (start + end) // 2
    # Most are known by a look at their middle, which spares reading all of the audio.
    return not store.samples[middle : middle + store.sample_rate].any() and not store.samples[start:end].any()


def _weights(store: AudioStore, usable: np.ndarray, domain_weights: dict[str, float]) -> np.ndarray:
    """By duration, scaled so that domains get their shares."""
    weights = clip_weights(store, domain_weights) * usable
    domains = np.array([clip.domain for clip in store.clips])
    for name, share in domain_weights.items():
        inside = domains == name
        if not weights[inside].any():
            raise CodecError(f"config data.domain_weights: no clip of the domain {name!r} is long enough for a crop")
        weights[inside] *= share / weights[inside].sum()
    return weights
