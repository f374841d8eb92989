"""Batches of windows with the teacher's vectors of the clips that they come from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codec.data.clusters import WeightedDraws
from codec.data.store import AudioStore
from codec.students.front import cut


@dataclass
class EmbeddingBatch:
    """Windows of one step.

    Attributes:
        wav: ``(B, window)`` float32.
        target: ``(B, D)`` float32, scaled.
    """

    wav: Tensor
    target: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> "EmbeddingBatch":
        """A batch of what ``change`` makes of each tensor."""
        return EmbeddingBatch(change(self.wav), change(self.target))

    def pin_memory(self) -> "EmbeddingBatch":
        """A copy in page-locked memory, from where copies to a GPU run during its work."""
        return self.map(Tensor.pin_memory)


class WindowBatches:
    """Makes the batch of a step for one process: a clip by weight, then a window anywhere in it.

    The target is the vector of the whole clip, whatever window of it is heard.
    """

    def __init__(
        self,
        store: AudioStore,
        window: int,
        clips: np.ndarray,
        targets: Callable[[Tensor], Tensor],
        weights: np.ndarray,
        seed: int,
        slots: range,
    ):
        """
        Args:
            store: the audio, at the student's rate.
            window: samples of a window; shorter clips are repeated.
            clips: ``(N,)`` indices into the store of the clips to train on.
            targets: of indices ``(B,)`` into the store, scaled vectors ``(B, D)``.
            weights: ``(N,)``, how often each is drawn.
            seed: of the run.
            slots: of this process, of those of all.
        """
        self.store, self.window, self.clips, self.targets, self.slots = store, window, clips, targets, slots
        self._seed = seed
        self.weights = weights

    @property
    def weights(self) -> np.ndarray:
        """``(N,)``; may be set before the first batch."""
        return self._weights

    @weights.setter
    def weights(self, weights: np.ndarray) -> None:
        self._weights, self._draws = weights, WeightedDraws(weights, self._seed)

    def chosen(self, step: int) -> list[tuple[int, float]]:
        """Clips of this process's slots, as indices into the store, and places in them, in [0, 1)."""
        drawn = [self._draws.draw(step, slot) for slot in self.slots]
        return [(int(self.clips[index]), place) for index, place in drawn]

    def batch(self, step: int) -> EmbeddingBatch:
        """The windows of a step, on the CPU."""
        chosen = self.chosen(step)
        wav = torch.stack([self._window(clip, place) for clip, place in chosen])
        return EmbeddingBatch(wav, self.targets(torch.tensor([clip for clip, _ in chosen])))

    def _window(self, clip: int, place: float) -> Tensor:
        spare = max(0, int(self.store.lengths[clip]) - self.window)
        wav = self.store.read(clip, int(place * (spare + 1)), self.window)
        return cut(torch.from_numpy(wav), self.window)[0]
