"""Looking into a recording before it enters a manifest."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from codec.errors import CodecError

BLOCK = 1 << 20


def probe(source: Path | BinaryIO, verify: bool) -> float:
    """Seconds of a sound file.

    Args:
        verify: decode all of it, so that a damaged body or NaN is found now and not in training.

    Raises:
        CodecError: when it is no sound file, is empty, ends early, or holds NaN or infinity.
    """
    try:
        with soundfile.SoundFile(source) as file:
            frames, rate = file.frames, file.samplerate
            if verify:
                frames = _decode(file)
    except (soundfile.LibsndfileError, OSError) as error:
        raise CodecError(f"not a readable sound file ({error})") from None
    if frames <= 0:
        raise CodecError("holds no samples")
    return frames / rate


def _decode(file: soundfile.SoundFile) -> int:
    decoded = 0
    for block in file.blocks(BLOCK, dtype="float32"):
        if not np.isfinite(block).all():
            raise CodecError("holds NaN or infinite samples")
        decoded += len(block)
    if decoded < file.frames:
        raise CodecError(f"ends after {decoded} of {file.frames} samples")
    return decoded
