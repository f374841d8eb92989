"""Sample-rate conversion by soxr, whole or block by block."""

import numpy as np
import soxr
import torch
from torch import Tensor


def resample(wav: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample one clip ``(T,)``, float32; at least one sample comes back."""
    if source_rate == target_rate:
        return wav
    output = soxr.resample(wav.cpu().numpy(), source_rate, target_rate)
    converted = torch.from_numpy(output)
    return converted if len(converted) else wav[:1].cpu()


class StreamResampler:
    """:func:`resample` for a mono signal that comes in blocks; the blocks' sizes do not matter."""

    def __init__(self, source_rate: int, target_rate: int):
        same = source_rate == target_rate
        self._stream = None if same else soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")
        self._first: np.ndarray | None = None
        self._any_output = same

    def feed(self, block: np.ndarray) -> np.ndarray:
        """The next ``(n,)`` float32 samples in; what is finished of the output back."""
        if self._stream is None:
            return block
        if self._first is None and len(block):
            self._first = block[:1].copy()
        return self._count(self._stream.resample_chunk(block))

    def finish(self) -> np.ndarray:
        """The rest of the output. A clip too short for one output sample keeps its first."""
        if self._stream is None or self._first is None:
            return np.zeros(0, np.float32)
        rest = self._count(self._stream.resample_chunk(np.zeros(0, np.float32), last=True))
        return rest if self._any_output else self._first

    def _count(self, output: np.ndarray) -> np.ndarray:
        self._any_output = self._any_output or len(output) > 0
        return output
