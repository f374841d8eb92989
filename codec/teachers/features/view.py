"""A teacher's features as one run sees them: of the clips of its domains, and of no others."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import Tensor

from codec.data import Clip
from codec.errors import CodecError
from codec.teachers.features.cache import CachedFeatures, FeatureInfo

MIXED = "mixed"
"""The domain of clips that every teacher sees."""


class FeatureReader(Protocol):
    """A cache of features, or what computes them on the fly."""

    def read(self, clip: Clip) -> "CachedFeatures | NoFeatures": ...


class NoFeatures:
    """What a teacher has to say about a clip of another domain: nothing, in the shapes of a clip's features.

    Args:
        info: of the teacher.
        counts: whether the vector counts all the same.
    """

    smooth: bool = False
    num_frames = 0

    def __init__(self, info: FeatureInfo, counts: bool = False):
        self.info, self.counts = info, counts
        self.rate, self.offset, self.mode, self.level = info.rate, info.offset, info.mode, info.level

    def slice(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """``(0, D)`` and ``(0,)``: there is no frame."""
        return torch.zeros(0, self.info.dim, dtype=torch.float16), torch.zeros(0, dtype=torch.bool)

    def vector(self) -> tuple[Tensor, Tensor]:
        """Zeros ``(D,)``, and whether they count."""
        return torch.zeros(self.info.dim, dtype=torch.float16), torch.tensor(self.counts)


class Unextracted:
    """In the place of features, of a teacher that hears the decoded audio: one vector that says which clips count.

    Args:
        teacher: the model.
    """

    def __init__(self, teacher: str):
        self.info = FeatureInfo(teacher, "", rate=0.0, offset=0.0, mode="output", dim=1, level="clip")

    def read(self, clip: Clip) -> NoFeatures:
        """A zero that counts."""
        return NoFeatures(self.info, counts=True)


class TeacherView:
    """Features of one teacher, masked throughout for clips of domains that it does not know.

    Attributes:
        source: where the features come from; it is never asked about a clip of another domain.
        info: what they are.
    """

    def __init__(
        self, source: FeatureReader, info: FeatureInfo, domains: tuple[str, ...] | None, smooth: bool
    ):
        """
        Args:
            source: a cache, or live features.
            info: what they are.
            domains: that the teacher sees, with ``mixed``; ``None``: all.
            smooth: as :attr:`CachedFeatures.smooth`.
        """
        self.source, self.info = source, info
        self._domains, self._smooth = domains, smooth

    def read(self, clip: Clip) -> CachedFeatures | NoFeatures:
        """The clip's features."""
        if not sees(self._domains, clip):
            return NoFeatures(self.info)
        features = self.source.read(clip)
        features.smooth = self._smooth
        return features


def sees(domains: tuple[str, ...] | None, clip: Clip) -> bool:
    """Whether a teacher of these domains is asked about a clip."""
    return domains is None or clip.domain == MIXED or clip.domain in domains


def clips_seen(name: str, domains: tuple[str, ...] | None, clips: Iterable[Clip]) -> list[Clip]:
    """The clips that the teacher ``name`` sees.

    Raises:
        CodecError: when a domain of its has no clip, and no clip is mixed.
    """
    clips = list(clips)
    found = {clip.domain for clip in clips}
    lacking = sorted(set(domains or ()) - found)
    if lacking and MIXED not in found:
        raise CodecError(
            f"teachers.{name}.domains: no clip of the domain {lacking[0]!r}; there are {', '.join(sorted(found))}. "
            "Name domains of the manifests, or add clips of this one"
        )
    return [clip for clip in clips if sees(domains, clip)]
