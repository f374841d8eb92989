"""What aligners and teachers look at: one clip, its audio and its words; and clips that were left out."""

from dataclasses import dataclass

from torch import Tensor

from codec.align.words import ClipWords
from codec.data import Clip


@dataclass(frozen=True)
class Utterance:
    """What an aligner or a teacher looks at.

    Attributes:
        clip: the manifest's line.
        wav: ``(T,)`` float32 at the rate of the aligner or teacher; ``None`` unless it needs audio.
        words: the clip's words and times; ``None`` unless it needs them.
    """

    clip: Clip
    wav: Tensor | None = None
    words: ClipWords | None = None


@dataclass(frozen=True)
class Skip:
    """A clip that was left out, and why."""

    clip: str
    reason: str
