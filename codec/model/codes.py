"""Codes in the forms that callers have, such as a language model's output."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from codec.errors import CodecError
from codec.model.arrays import to_codes
from codec.reading import Source, is_source
from codec.tokens.files import load_tokens
from codec.tokens.tokens import Tokens

Codes = Tensor | np.ndarray | Source | Sequence[Any]
"""Whole numbers ``(K, T)`` or ``(B, K, T)``, a token file or its bytes, or a list of such clips or of tokens."""

_EXPECTED = "tokens, an array (K, T) or (B, K, T), a path, or a list of such clips"


def read_tokens(codes: Any) -> Tokens | None:
    """The tokens of files and lists of tokens; ``None`` of what has to be read as bare codes.

    Raises:
        CodecError: for a file that holds no tokens, or tokens that make no batch.
    """
    if is_source(codes):
        return load_tokens(codes)
    if not isinstance(codes, list | tuple) or not any(isinstance(x, Tokens) or is_source(x) for x in codes):
        return None
    clips = [load_tokens(clip) if is_source(clip) else clip for clip in codes]
    if strange := {type(clip).__name__ for clip in clips if not isinstance(clip, Tokens)}:
        raise CodecError(f"a list of tokens and {', '.join(sorted(strange))}; decode them apart")
    return Tokens.joined(clips)


def read_codes(codes: Any) -> list[Tensor]:
    """The clips ``(K, T)`` of codes, at least one frame each.

    Raises:
        CodecError: on another shape or type, or when the clips differ in K.
    """
    if isinstance(codes, list | tuple) and not codes:
        raise CodecError("no codes; give at least one clip (K, T)")
    several = isinstance(codes, list | tuple) and any(hasattr(clip, "ndim") for clip in codes)
    clips = [to_codes(clip) for clip in codes] if several else [to_codes(codes, _EXPECTED)]
    if not several and clips[0].ndim == 3:
        clips = list(clips[0])
    if not clips or any(clip.ndim != 2 or not clip.numel() for clip in clips):
        shape = [tuple(clip.shape) for clip in clips]
        raise CodecError(
            f"expected codes (K, T) or (B, K, T), got shape {shape[0] if len(shape) == 1 else shape}"
        )
    if len({len(clip) for clip in clips}) > 1:
        raise CodecError(
            f"clips of {sorted({len(clip) for clip in clips})} codebooks; give the same layers of all"
        )
    return clips
