"""Batches of whole clips with their texts' labels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.asr.alphabet import Alphabet
from codec.data.clusters import WeightedDraws
from codec.data.store import AudioStore


@dataclass
class SpokenBatch:
    """Clips of one step.

    Attributes:
        wavs: ``(n_i,)`` float32 each.
        labels: of each clip's text.
    """

    wavs: list[Tensor]
    labels: list[list[int]]

    def map(self, change: Callable[[Tensor], Tensor]) -> "SpokenBatch":
        """A batch of what ``change`` makes of each tensor."""
        return SpokenBatch([change(wav) for wav in self.wavs], self.labels)

    def pin_memory(self) -> "SpokenBatch":
        """A copy in page-locked memory, from where copies to a GPU run during its work."""
        return self.map(Tensor.pin_memory)


@dataclass(frozen=True)
class Spoken:
    """Clips that can be trained on.

    Attributes:
        clips: ``(N,)`` indices into the store.
        labels: of the text of each.
        skipped: clips that were left out, by why.
    """

    clips: list[int]
    labels: list[list[int]]
    skipped: dict[str, int]


def spoken_clips(
    store: AudioStore, alphabet: Alphabet, max_seconds: float, fits: Callable[[int, list[int]], bool]
) -> Spoken:
    """Clips with a text that can be learned.

    Args:
        store: the audio.
        alphabet: of the texts.
        max_seconds: of a clip.
        fits: whether a clip of so many samples has frames enough for its labels.
    """
    clips: list[int] = []
    known: list[list[int]] = []
    skipped: dict[str, int] = {}
    for index, (clip, length) in enumerate(zip(store.clips, store.lengths.tolist(), strict=True)):
        labels = alphabet.labels(clip.text)
        if not clip.text:
            why = "without a text"
        elif labels is None:
            why = "with characters that the alphabet lacks"
        elif length > max_seconds * store.sample_rate:
            why = "longer than data.max_seconds"
        elif not length or not fits(length, labels):
            why = "with more characters than frames"
        else:
            clips.append(index)
            known.append(labels)
            continue
        skipped[why] = skipped.get(why, 0) + 1
    return Spoken(clips, known, skipped)


class SpokenBatches:
    """Makes the batch of a step: clips drawn with replacement, all alike; a function of seed and step."""

    def __init__(self, store: AudioStore, spoken: Spoken, batch_size: int, seed: int):
        self._store, self._spoken, self._size = store, spoken, batch_size
        self._draws = WeightedDraws(np.ones(len(spoken.clips)), seed)

    def batch(self, step: int) -> SpokenBatch:
        """The clips of a step, on the CPU."""
        chosen = [self._draws.draw(step, slot)[0] for slot in range(self._size)]
        clips = [self._spoken.clips[index] for index in chosen]
        wavs = [self._store.read(clip, 0, int(self._store.lengths[clip])) for clip in clips]
        return SpokenBatch([torch.from_numpy(wav) for wav in wavs], [self._spoken.labels[index] for index in chosen])
