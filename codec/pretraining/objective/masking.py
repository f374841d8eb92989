"""Which tokens are masked: an order of all places, those that are seen first, drawn by (seed, step, slot)."""

from dataclasses import dataclass

import numpy as np

from codec.errors import CodecError


@dataclass(frozen=True)
class PatchMasks:
    """Each token is as likely to be masked as any other: 133 of 190 at a ratio of 0.7.

    Attributes:
        tokens: N.
        ratio: share of them that is masked.
    """

    tokens: int
    ratio: float

    def __post_init__(self) -> None:
        _check(self.ratio, self.visible, self.tokens, "mask_ratio")

    @property
    def visible(self) -> int:
        """Tokens that are seen: ``floor(N (1 - ratio))``."""
        # 0.1 of 10 tokens is one, not the 0.9999999999999998 that floats make of it.
        return int(self.tokens * (1 - self.ratio) + 1e-9)

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """``(N,)`` int64."""
        return rng.permutation(self.tokens)


@dataclass(frozen=True)
class SpanMasks:
    """Spans of one length, anywhere, that do not overlap; the same number in every crop.

    Fewer spans cover a frame near an end of the crop, so such frames are masked less often.

    Attributes:
        frames: of a crop.
        span: frames of a span.
        ratio: share of the frames that is to be masked; the number of spans is rounded.
    """

    frames: int
    span: int
    ratio: float

    def __post_init__(self) -> None:
        if not 1 <= self.span <= self.frames:
            raise CodecError(f"config span: expected 1 to the crop's {self.frames} frames, got {self.span}")
        _check(self.ratio, self.visible, self.frames, "mask_ratio")

    @property
    def count(self) -> int:
        """Spans of a crop."""
        return round(self.frames * self.ratio / self.span)

    @property
    def visible(self) -> int:
        """Frames that are seen."""
        return self.frames - self.count * self.span

    def order(self, rng: np.random.Generator) -> np.ndarray:
        """``(N,)`` int64, the frames that are seen and then those that are masked, both in time's order."""
        # Spans as single beads on a string with the frames that are seen: all arrangements are equally likely.
        beads = np.sort(rng.choice(self.visible + self.count, self.count, replace=False))
        starts = beads + np.arange(self.count) * (self.span - 1)
        masked = (starts[:, None] + np.arange(self.span)).ravel()
        return np.concatenate([np.setdiff1d(np.arange(self.frames), masked), masked])


def _check(ratio: float, visible: int, tokens: int, name: str) -> None:
    if not 0 < ratio < 1:
        raise CodecError(f"config {name}: expected a share between 0 and 1, got {ratio}")
    if not 0 < visible < tokens:
        what = "seen" if visible <= 0 else "masked"
        raise CodecError(f"config {name}: {ratio} of {tokens} tokens leaves none that are {what}; change it")
