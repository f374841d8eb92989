"""How far resampled audio lags behind live audio."""

import numpy as np

from codec.audio.resample import StreamResampler

_SECONDS = 2
_BLOCKS_PER_SECOND = 100


def resampling_delay(source_rate: int, target_rate: int) -> float:
    """Seconds by which :class:`StreamResampler` lags at most, found by running it.

    The filter looks ahead, and soxr hands samples out in blocks; neither delay has a closed form.
    """
    if source_rate == target_rate:
        return 0.0
    stream, received, worst = StreamResampler(source_rate, target_rate), 0, 0.0
    block = np.zeros(max(1, source_rate // _BLOCKS_PER_SECOND), np.float32)
    for sent in range(len(block), _SECONDS * source_rate, len(block)):
        received += len(stream.feed(block))
        worst = max(worst, sent / source_rate - received / target_rate)
    return worst
