"""One step's crops as tensors, with what teachers say of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class TeacherFrames:
    """A teacher's view of a batch, on the codec's frames.

    Attributes:
        features: ``(B, T, D)`` float; float16 from a cache until they are where the step computes.
        mask: ``(B, T)`` bool; false where the teacher has nothing to say (silence, padding).
    """

    features: Tensor
    mask: Tensor


@dataclass
class TeacherClip:
    """A teacher's one vector for each clip that the crops of a batch come from.

    Attributes:
        features: ``(B, D)`` float; float16 from a cache until they are where the step computes.
        mask: ``(B,)`` bool; false where the teacher has nothing to say about the clip.
    """

    features: Tensor
    mask: Tensor


@dataclass
class Batch:
    """Crops of one training step.

    Attributes:
        wav: ``(B, T)`` float32, T a multiple of the hop.
        mask: ``(B, F)`` bool over frames; false after a clip's end.
        teachers: by teacher name (``sm``, ``lm``, ...).
        texts: what is spoken in each crop; ``None`` where it is not known, or the crop is a part of its clip.
    """

    wav: Tensor
    mask: Tensor
    teachers: dict[str, TeacherFrames | TeacherClip] = field(default_factory=dict)
    texts: tuple[str | None, ...] = ()

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """A batch of what ``change`` makes of each tensor."""
        teachers = {
            name: type(target)(change(target.features), change(target.mask))
            for name, target in self.teachers.items()
        }
        return Batch(change(self.wav), change(self.mask), teachers, self.texts)

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory, from where copies to a GPU run during its work."""
        return self.map(Tensor.pin_memory)
