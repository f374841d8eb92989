"""Types that the parts of training exchange."""

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class TeacherFrames:
    """A teacher's view of a batch, on the codec's frames.

    Attributes:
        features: ``(B, T, D)`` float; float16 from a cache until they are where the step computes.
        mask: ``(B, T)`` bool; false where the teacher has no features (silence, padding).
    """

    features: Tensor
    mask: Tensor


@dataclass
class TeacherClip:
    """A teacher's one vector for each clip that the crops of a batch come from.

    Attributes:
        features: ``(B, D)`` float; float16 from a cache until they are where the step computes.
        mask: ``(B,)`` bool; false where the teacher has no vector for the clip.
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
    """

    wav: Tensor
    mask: Tensor
    teachers: dict[str, TeacherFrames | TeacherClip] = field(default_factory=dict)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        """A batch of what ``change`` makes of each tensor."""
        teachers = {
            name: type(target)(change(target.features), change(target.mask))
            for name, target in self.teachers.items()
        }
        return Batch(change(self.wav), change(self.mask), teachers)

    def pin_memory(self) -> "Batch":
        """A copy in page-locked memory, from where copies to a GPU run during its work."""
        return self.map(Tensor.pin_memory)


@dataclass
class QuantizerOutput:
    """Result of the quantizer in training.

    Attributes:
        latent: ``(B, D, T)`` what went in, with gradient.
        quantized: ``(B, D, T)`` sum of the active layers, straight-through to ``latent``.
        sums: ``(K, B, D, T)``; entry k is the sum of layers 1 to k + 1. Detached unless ``projected``.
        codes: ``(B, K, T)`` int64.
        commitment: scalar, mean over active layers of the masked MSE(residual_k, sg(q_k)).
        projected: whether the gradient reaches the latent through the sums, and projections on the way.
    """

    latent: Tensor
    quantized: Tensor
    sums: Tensor
    codes: Tensor
    commitment: Tensor
    projected: bool = False

    def prefix(self, num_codebooks: int) -> Tensor:
        """``(B, D, T)``: layers 1 to ``num_codebooks``, straight-through to the latent.

        One straight-through step over the whole sum, so a loss on any prefix reaches the encoder.
        """
        if self.projected:
            return self.sums[num_codebooks - 1]
        return self.latent + (self.sums[num_codebooks - 1] - self.latent).detach()


@dataclass
class Judgement:
    """Discriminators' outputs for a generator step, one entry per sub-discriminator.

    Attributes:
        fake_logits: tensors of any shape.
        real_features: per sub-discriminator, a list of feature maps, detached.
        fake_features: likewise, with gradient.
        strength: scalar from 0 to 1, the factor on the weights of losses that use this.
    """

    fake_logits: list[Tensor]
    real_features: list[list[Tensor]]
    fake_features: list[list[Tensor]]
    strength: Tensor | None = None


@dataclass
class LossInput:
    """Everything that a generator loss may use.

    Attributes:
        real: ``(B, T)`` target waveform.
        fake: ``(B, T)`` decoded waveform.
        batch: the step's batch (masks, teachers).
        quantizer: the quantizer's output.
        judgement: the discriminators' outputs; ``None`` before they start.
    """

    real: Tensor
    fake: Tensor
    batch: Batch
    quantizer: QuantizerOutput
    judgement: Judgement | None = None
