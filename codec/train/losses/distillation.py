"""Distillation of teachers into the quantizer, frame by frame or by one vector for a clip."""

import re
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.train.distributed import all_reduce_sum, world_size
from codec.train.losses.context import LossContext
from codec.train.losses.registry import loss
from codec.train.losses.similarity import Axis, Form, d_axis, t_axis
from codec.train.losses.standardize import Standardize
from codec.train.types import LossInput, QuantizerOutput, TeacherClip, TeacherFrames

T = TypeVar("T")


class _Translator(nn.Module):
    """A linear view of the codec's latents at an attach point, to be compared with one teacher.

    Attributes:
        teacher: the teacher's name.
        head: ``D'`` to the teacher's width.
    """

    def __init__(self, teacher: str, attach: str, standardize: bool, context: LossContext):
        super().__init__()
        self.name, self.teacher = context.name, teacher
        if teacher not in context.teacher_dims:
            known = ", ".join(sorted(context.teacher_dims)) or "none"
            raise CodecError(
                f"losses.{self.name} needs a teacher {teacher!r}, configured: {known}; "
                f"add teachers.{teacher} or remove the loss"
            )
        dim = context.teacher_dims[teacher]
        self.layers = parse_attach(attach, context.num_codebooks, self.name)
        self.head = nn.Linear(context.latent_dim, dim)
        self.standardize = Standardize(dim) if standardize else None

    def _target(self, inputs: LossInput, kind: type[T]) -> T:
        target = inputs.batch.teachers.get(self.teacher)
        if target is None or type(target) is not kind:
            found = "nothing" if target is None else type(target).__name__
            raise ValueError(f"{self.name}: expected {kind.__name__} of teacher {self.teacher!r}, got {found}")
        return target

    def _attached(self, quantizer: QuantizerOutput) -> Tensor:
        return quantizer.latent if self.layers is None else quantizer.prefix(self.layers)

    def _mean(self, values: Tensor, counts: Tensor) -> Tensor:
        """Mean of the values that count; zero, with a zero gradient, when none does."""
        total = counts.sum().float()
        if self.training:
            # DDP averages gradients over processes: with the mean count, that is the global mean.
            total = all_reduce_sum(total) / world_size()
        tiny = torch.finfo(total.dtype).tiny
        return values.masked_fill(~counts, 0.0).sum() / total.clamp(min=tiny)


@loss("distill")
class Distillation(_Translator):
    """Pull a linear view of the codec's latents towards a teacher's features, frame by frame.

    With ``Q (B, T, D')`` the vectors at the attach point, ``F = Q W + b (B, T, D)`` and the
    teacher's features ``Z (B, T, D)``, over unmasked frames only:

    - axis ``d`` (SpeechTokenizer, Zhang et al. 2023, arXiv 2308.16692, section 3.2, as corrected by
      its authors; DM-Codec, Ahasan et al. 2024, arXiv 2410.15017, its LM-guided and combined
      losses): ``L = -mean_{b,d} log sigma(cos_t(F[b, :, d], Z[b, :, d]))``. Items without unmasked
      frames do not count.
    - axis ``t``: ``L = mean_{b,t} [-log sigma(cos_d(F[b, t, :], Z[b, t, :]))
      + l1_weight mean_d |F[b, t, d] - Z[b, t, d]|]``.

    Neither mean mixes items, and no cosine runs over the batch. In training both are means over
    the batches of all processes. DM-Codec's ``combined`` is ``distill_sm`` and ``distill_lm``
    together, each with its weight: a loss called ``distill_NAME`` is one of this type, of teacher NAME.

    The attach point ``rvq1-K`` is the sum of layers 1 to K, whose scale the head absorbs (DM-Codec
    averages them); one straight-through step carries its gradient to the encoder.
    """

    @dataclass(frozen=True)
    class Config:
        """Settings of the distillation from one teacher."""

        teacher: str
        """The teacher's name in the config's section teachers."""
        attach: str = "rvq1"
        """rvq1, rvq1-K (layers 1 to K) or latent (before the quantizer)."""
        axis: Axis = "d"
        """d: cosine over time for each dimension; t: cosine over dimensions for each frame."""
        form: Form = "log_sigmoid"
        """Function of the cosine: -log sigmoid(cos), or 1 - cos."""
        l1_weight: float = 1.0
        """Weight of the mean |F - Z| on the t axis."""
        standardize: bool = False
        """Bring each teacher dimension to mean 0, variance 1 by running statistics."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__(config.teacher, config.attach, config.standardize, context)
        if self.teacher in context.clip_teachers:
            raise CodecError(
                f"losses.{self.name}: teacher {self.teacher!r} has one vector for a clip; set type: distill_clip"
            )
        self.config = config

    def forward(self, inputs: LossInput) -> Tensor:
        frames = self._frames(inputs)
        mask = frames.mask & inputs.batch.mask
        teacher = frames.features.float()
        if self.standardize is not None:
            teacher = self.standardize(teacher, mask)
        student = self.head(self._attached(inputs.quantizer).transpose(1, 2)).float()
        form = self.config.form
        if self.config.axis == "d":
            values, counts = d_axis(student, teacher, mask, form)
        else:
            values, counts = t_axis(student, teacher, mask, form, self.config.l1_weight)
        return self._mean(values, counts)

    def _frames(self, inputs: LossInput) -> TeacherFrames:
        frames = self._target(inputs, TeacherFrames)
        if frames.mask.shape != inputs.batch.mask.shape:
            raise ValueError(
                f"{self.name}: expected teacher frames {tuple(inputs.batch.mask.shape)}, "
                f"got {tuple(frames.mask.shape)}"
            )
        return frames


@loss("distill_clip")
class ClipDistillation(_Translator):
    """Pull the mean of a crop's frames towards a teacher's one vector for the clip.

    With ``Q (B, T, D')`` the vectors at the attach point, ``f_b = W mean_t Q[b, t] + b`` over unmasked
    frames and the teacher's vector ``z (B, D)``: the mean over clips of ``penalty(cos(f_b, z_b)) +
    l1_weight / D sum_d |f_bd - z_bd|``, as each frame of :class:`Distillation` on its axis ``t``. Clips
    for which the teacher has no features do not count. In training it is a mean over all processes.
    """

    @dataclass(frozen=True)
    class Config:
        """Settings of the distillation from one teacher."""

        teacher: str
        """The teacher's name in the config's section teachers."""
        attach: str = "rvq1"
        """rvq1, rvq1-K (layers 1 to K) or latent (before the quantizer)."""
        form: Form = "one_minus_cosine"
        """Function of the cosine: -log sigmoid(cos), or 1 - cos."""
        l1_weight: float = 0.0
        """Weight of the mean |f - z|."""
        standardize: bool = False
        """Bring each teacher dimension to mean 0, variance 1 by running statistics."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__(config.teacher, config.attach, config.standardize, context)
        if self.teacher not in context.clip_teachers:
            raise CodecError(
                f"losses.{self.name}: teacher {self.teacher!r} has frames, not one vector for a clip; "
                "set type: distill"
            )
        self.config = config

    def forward(self, inputs: LossInput) -> Tensor:
        clip, frames = self._target(inputs, TeacherClip), inputs.batch.mask
        counts = (clip.mask & frames.any(dim=1)).unsqueeze(1)
        teacher = clip.features.float().unsqueeze(1)
        if self.standardize is not None:
            teacher = self.standardize(teacher, counts)
        attached = self._attached(inputs.quantizer).masked_fill(~frames.unsqueeze(1), 0.0)
        pooled = attached.sum(dim=2) / frames.sum(dim=1, keepdim=True).clamp(min=1)
        student = self.head(pooled).float().unsqueeze(1)
        return self._mean(*t_axis(student, teacher, counts, self.config.form, self.config.l1_weight))


def parse_attach(attach: str, num_codebooks: int, name: str) -> int | None:
    """Number of quantizer layers of an attach point; ``None`` for ``latent``.

    Raises:
        CodecError: for another word, or more layers than the model has.
    """
    if attach == "latent":
        return None
    match = re.fullmatch(r"rvq1(?:-(\d+))?", attach)
    layers = int(match[1] or 1) if match else 0
    if not 1 <= layers <= num_codebooks:
        raise CodecError(
            f"losses.{name}.attach: {attach!r} is not an attach point; "
            f"choose latent, rvq1 or rvq1-K with K up to {num_codebooks}"
        )
    return layers
