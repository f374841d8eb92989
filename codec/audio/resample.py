"""Sample-rate conversion by soxr, whole or block by block."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
import torch
from torch import Tensor

from codec.errors import CodecError

MIN_RATE, MAX_RATE = 1_000, 768_000
"""Hz of audio that is resampled. A header may claim anything, and a factor of thousands takes all memory."""
_BLOCK = 1 << 20


def resample(wav: Tensor, source_rate: int, target_rate: int) -> Tensor:
    """Resample one clip ``(T,)``, float32; at least one sample comes back.

    Block by block into the result, so that an hour needs no memory besides its input and output.

    Raises:
        CodecError: as :class:`StreamResampler`.
    """
    if source_rate == target_rate:
        return wav
    stream = StreamResampler(source_rate, target_rate)
    output = np.empty(len(wav) * target_rate // source_rate + 2, np.float32)
    filled = 0
    for piece in stream.run(block.cpu().numpy() for block in wav.float().split(_BLOCK)):
        output[filled : filled + len(piece)] = piece
        filled += len(piece)
    return torch.from_numpy(output[:filled])


class StreamResampler:
    """Resampling of a mono signal that comes in blocks, whose sizes do not matter.

    Raises:
        CodecError: for rates that differ, one of them outside :data:`MIN_RATE` to :data:`MAX_RATE`.
    """

    def __init__(self, source_rate: int, target_rate: int):
        same = source_rate == target_rate
        for rate in (source_rate, target_rate):
            if not (same or MIN_RATE <= rate <= MAX_RATE):
                raise CodecError(
                    f"audio of {rate} Hz cannot be resampled, only of {MIN_RATE} to {MAX_RATE} Hz; is the rate right?"
                )
        self._stream = None if same else soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32")
        self._first: np.ndarray | None = None
        self._any_output = same

    def run(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The output of all blocks and its end, piece by piece."""
        for block in blocks:
            yield self.feed(block)
        yield self.finish()

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
