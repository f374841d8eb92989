"""How many tokens of a merged model are the base's: what a corpus of the base's tokens is still worth."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from codec.audio.io import load_audio
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.progress import track
from codec.tokens.tokens import Tokens


@dataclass(frozen=True)
class Agreement:
    """Codes of one model that are those of another, over clips of the same recordings.

    Attributes:
        first: share of frames with the same code of the first codebook.
        all: share of codes that are the same, over all codebooks.
        frames: share of frames with the same codes throughout.
        layers: share of frames with the same code of each codebook; past the first one that differs, codes
            quantize something else and mostly differ too.
        compared: frames.
        clips: recordings.
    """

    first: float
    all: float
    frames: float
    layers: list[float]
    compared: int
    clips: int

    def facts(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def token_agreement(base: Codec, model: Codec, clips: Iterable[Clip]) -> Agreement:
    """Encode clips with both models and compare the codes.

    Raises:
        CodecError: for models of other frames or codebooks, or recordings that cannot be read.
    """
    clips = list(clips)
    return compare_tokens(encode_clips(base, clips), encode_clips(model, clips))


def encode_clips(model: Codec, clips: Iterable[Clip]) -> list[Tokens]:
    """Tokens of each recording.

    Raises:
        CodecError: for a recording that cannot be read.
    """
    clips = list(clips)
    return [model.encode(load_audio(clip.audio)) for clip in track(clips, "encoding", len(clips))]


def compare_tokens(first: Sequence[Tokens], second: Sequence[Tokens]) -> Agreement:
    """Agreement of two models' tokens of the same clips.

    Raises:
        CodecError: without a frame to compare, or when the codes ``(1, K, F)`` differ in shape.
    """
    same = []
    for mine, other in zip(first, second, strict=True):
        if mine.codes.shape != other.codes.shape:
            raise CodecError(
                f"codes {tuple(mine.codes.shape)} and {tuple(other.codes.shape)} of one clip; "
                "compare models of one frame rate and number of codebooks"
            )
        same.append((mine.codes == other.codes)[0])
    equal = torch.cat(same, dim=1).double() if same else torch.zeros(0, 0)
    if not equal.numel():
        raise CodecError("no frames to compare; name recordings with audio in them")
    layers = equal.mean(dim=1).tolist()
    return Agreement(
        first=layers[0],
        all=float(equal.mean()),
        frames=float(equal.prod(dim=0).mean()),
        layers=layers,
        compared=equal.shape[1],
        clips=len(same),
    )
