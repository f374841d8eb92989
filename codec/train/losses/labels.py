"""Labels as a target: which phone a frame of the codec belongs to."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from codec.errors import CodecError
from codec.train.losses.distillation import AttachConfig, TeacherLoss
from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("labels")
class LabelsLoss(TeacherLoss):
    """Cross-entropy of the translated latents with a teacher's classes, the mean over unmasked frames.

    With logits ``F (B, T, C)`` and the teacher's distributions ``P (B, T, C)``, one-hot where it is sure:
    ``L = -mean_{b,t} sum_c P[b, t, c] log softmax_c F[b, t]``.
    """

    @dataclass(frozen=True)
    class Config(AttachConfig):
        """Which labels are learned, and where."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__(config, context)
        if self.teacher in context.clip_teachers:
            raise CodecError(f"losses.{self.name}: teacher {self.teacher!r} has no labels of frames")

    def forward(self, inputs: LossInput) -> Tensor:
        frames = self._frames(inputs)
        mask = frames.mask & inputs.batch.mask
        targets = frames.features.float().masked_fill(~mask.unsqueeze(2), 0.0)
        values = -(targets * F.log_softmax(self._translated(inputs), dim=2)).sum(dim=2)
        return self._mean(values, mask)
