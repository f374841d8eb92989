"""Looking into a recording before it enters a manifest."""

from pathlib import Path
from typing import BinaryIO

from codec.audio.io import duration_of
from codec.errors import CodecError


def verified_seconds(source: Path | BinaryIO, verify: bool) -> float:
    """Seconds of an audio file.

    Args:
        verify: decode all of it, so that a damaged body or NaN is found now and not in training.

    Raises:
        CodecError: when it is not an audio file, is empty or damaged, or holds NaN or infinity; without the
            file's name.
    """
    try:
        return duration_of(source, verify)
    except CodecError as error:
        raise CodecError(str(error).removeprefix(f"{source}: ")) from None
