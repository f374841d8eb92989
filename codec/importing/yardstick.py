"""How many codes of an imported model are unlike the original's, and how many could be equal at all.

Where a residual lies just half-way between two codes, rounding decides, and the codes of the later codebooks
in that frame then differ too. Two yardsticks say how many codes of a network hang on rounding: those that an
implementation computes differently with another number of threads, and those that differ from the same network
in float64. An import is as good as the original when it is no further from float64 than the original is.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from codec.bench.agreement import bundled_clip, variants
from codec.importing.originals import Original
from codec.model.codec import Codec


@dataclass(frozen=True)
class Count:
    """Codes, and the frames that they are in."""

    codes: int = 0
    frames: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.codes + other.codes, self.frames + other.frames)

    def __str__(self) -> str:
        return f"{self.codes} in {self.frames}"


@dataclass(frozen=True)
class Unlike:
    """Codes of one implementation that are unlike others.

    Attributes:
        original: the original's, computed alike.
        exact: those of the original in float64.
        threads: its own with another number of threads.
    """

    original: Count = Count()
    exact: Count = Count()
    threads: Count = Count()

    def __add__(self, other: "Unlike") -> "Unlike":
        return Unlike(self.original + other.original, self.exact + other.exact, self.threads + other.threads)


@dataclass(frozen=True)
class Agreement:
    """What :func:`measure` counted.

    Attributes:
        compared: all codes.
        ours: those of the imported model.
        theirs: those of the original.
    """

    compared: Count = Count()
    ours: Unlike = Unlike()
    theirs: Unlike = Unlike()

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(self.compared + other.compared, self.ours + other.ours, self.theirs + other.theirs)


def measure(model: Codec, original: Original, wavs: Iterable[Tensor]) -> Agreement:
    """Compare the codes of clips ``(T,)``.

    Args:
        model: imported from ``original``.
        wavs: at the model's rate.
    """
    exact, agreement = original.exact(), Agreement()
    for wav in wavs:
        clip = wav[None]
        codes, theirs, truth = model.encode(clip).codes, original.codes(clip), exact.codes(clip.double())
        with threads(other_threads()):
            again, theirs_again = model.encode(clip).codes, original.codes(clip)
        agreement += Agreement(
            Count(codes.numel(), codes.shape[2]),
            Unlike(unlike(codes, theirs), unlike(codes, truth), unlike(codes, again)),
            Unlike(Count(), unlike(theirs, truth), unlike(theirs, theirs_again)),
        )
    return agreement


def odd_clips(model: Codec, count: int) -> Iterator[Tensor]:
    """Variants ``(T,)`` of the bundled clip, whose lengths are no multiples of the hop."""
    for clip in variants(bundled_clip(model.sample_rate), count):
        yield clip[: len(clip) - (len(clip) % model.hop_length == 0)]


def unlike(codes: Tensor, others: Tensor) -> Count:
    """Codes ``(1, K, F)`` that differ, in the frames that both have: SpeechTokenizer's padding may make one more."""
    frames = min(codes.shape[2], others.shape[2])
    different = codes[..., :frames] != others[..., :frames]
    return Count(int(different.sum()), int(different.any(dim=1).sum()))


def other_threads() -> int:
    """A number of threads that is not the present one."""
    return 2 if torch.get_num_threads() == 1 else 1


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with ``count`` threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
