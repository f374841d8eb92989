"""Looking into a recording before it enters a manifest."""

from pathlib import Path
from typing import BinaryIO

from codec.audio.io import sound_seconds
from codec.errors import CodecError


def verified_seconds(source: Path | BinaryIO, verify: bool) -> float:
    """Seconds of a sound file.

    Args:
        verify: decode all of it, so that a damaged body or NaN is found now and not in training.

    Raises:
        CodecError: when it is no sound file, is empty, damaged, or holds NaN or infinity; without the
            file's name.
    """
    try:
        return sound_seconds(source, verify)
    except CodecError as error:
        raise CodecError(str(error).removeprefix(f"{source}: ")) from None
