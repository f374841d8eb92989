"""Distillation of teachers into the quantizer, frame by frame or by one vector for a clip."""

import re
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from codec.data.batch import TeacherClip, TeacherFrames
from codec.errors import CodecError
from codec.teachers.similarity import Form, d_axis, t_axis
from codec.teachers.teaching import Axis
from codec.teachers.translators import TranslatorKind, build_translator
from codec.train.distributed import all_reduce_sum, world_size
from codec.train.losses.registry import LossContext, check_teacher, loss
from codec.train.losses.standardize import Standardize
from codec.train.types import LossInput

T = TypeVar("T")
Standardization = Literal["calibrated"] | bool


@dataclass(frozen=True)
class AttachConfig:
    """Which teacher a loss listens to, and where."""

    teacher: str
    """The teacher's name in the config's section teachers."""
    attach: str = "rvq1"
    """rvq1, rvq1-K (layers 1 to K), latent (before the quantizer) or quantized (all that the decoder is given)."""
    translator: TranslatorKind = "linear"
    """From the latents to the teacher: linear, conv (three frames at a time) or mlp; never shipped with the codec."""


class TeacherLoss(nn.Module):
    """A translation of the codec's latents at an attach point, to be compared with one teacher.

    Attributes:
        teacher: the teacher's name.
        head: the translator, ``D'`` to the teacher's width.
    """

    hears_audio = False

    def __init__(self, config: AttachConfig, context: LossContext, standardize: Standardization = False):
        super().__init__()
        teacher, self.name = config.teacher, context.name
        self.teacher = teacher
        check_teacher(self.name, teacher, context.teacher_dims)
        dim = context.teacher_dims[teacher]
        self.attach = config.attach
        self.layers = parse_attach(config.attach, context.num_codebooks, self.name)
        self.head = build_translator(config.translator, context.latent_dim, dim)
        self.standardize = self._standardize(standardize, context) if standardize else None

    def _standardize(self, standardize: Standardization, context: LossContext) -> Standardize:
        known = context.statistics.get(self.teacher)
        if standardize == "calibrated" and known is None:
            raise CodecError(f"losses.{self.name}: teacher {self.teacher!r} was not calibrated; set standardize: true")
        return Standardize(context.teacher_dims[self.teacher], known if standardize == "calibrated" else None)

    def _target(self, inputs: LossInput, kind: type[T]) -> T:
        target = inputs.batch.teachers.get(self.teacher)
        if target is None or type(target) is not kind:
            found = "nothing" if target is None else type(target).__name__
            raise ValueError(f"{self.name}: expected {kind.__name__} of teacher {self.teacher!r}, got {found}")
        return target

    def _frames(self, inputs: LossInput) -> TeacherFrames:
        frames = self._target(inputs, TeacherFrames)
        if frames.mask.shape != inputs.batch.mask.shape:
            raise ValueError(
                f"{self.name}: expected teacher frames {tuple(inputs.batch.mask.shape)}, "
                f"got {tuple(frames.mask.shape)}"
            )
        return frames

    @property
    def described(self) -> dict[str, str]:
        """Facts without which the head's weights mean nothing."""
        return {"teacher": self.teacher, "attach": self.attach}

    def _translated(self, inputs: LossInput) -> Tensor:
        """``(B, T, D)`` float32: the attach point in the teacher's space."""
        frames = inputs.quantizer.at(self.attach, self.layers).transpose(1, 2)
        return self.head(frames, inputs.batch.mask).float()

    def _mean(self, values: Tensor, counts: Tensor) -> Tensor:
        """Mean of the values that count; zero, with a zero gradient, when none does."""
        total = counts.sum().float()
        if self.training:
            # DDP averages gradients over processes: with the mean count, that is the global mean.
            total = all_reduce_sum(total) / world_size()
        tiny = torch.finfo(total.dtype).tiny
        return values.masked_fill(~counts, 0.0).sum() / total.clamp(min=tiny)


@loss("distill")
class Distillation(TeacherLoss):
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
    class Config(AttachConfig):
        """How one teacher is distilled."""

        axis: Axis = "d"
        """d: cosine over time for each dimension; t: cosine over dimensions for each frame."""
        form: Form = "log_sigmoid"
        """Function of the cosine: -log sigmoid(cos), or 1 - cos."""
        l1_weight: float = 1.0
        """Weight of the mean |F - Z| on the t axis."""
        standardize: Standardization = False
        """Bring each teacher dimension to mean 0, variance 1: by running statistics, or by those of a pass
        before the first step (calibrated)."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__(config, context, config.standardize)
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
        student = self._translated(inputs)
        form = self.config.form
        if self.config.axis == "d":
            values, counts = d_axis(student, teacher, mask, form)
        else:
            values, counts = t_axis(student, teacher, mask, form, self.config.l1_weight)
        return self._mean(values, counts)


@loss("distill_clip")
class ClipDistillation(TeacherLoss):
    """Pull the mean of a crop's frames towards a teacher's one vector for the clip.

    With ``Q (B, T, D')`` the vectors at the attach point, ``f_b = mean_t (W Q[b, t] + b)`` over unmasked
    frames and the teacher's vector ``z (B, D)``: the mean over clips of ``penalty(cos(f_b, z_b)) +
    l1_weight / D sum_d |f_bd - z_bd|``, as each frame of :class:`Distillation` on its axis ``t``. Clips
    for which the teacher has no features do not count. In training it is a mean over all processes.
    """

    @dataclass(frozen=True)
    class Config(AttachConfig):
        """How one teacher is distilled."""

        form: Form = "one_minus_cosine"
        """Function of the cosine: -log sigmoid(cos), or 1 - cos."""
        l1_weight: float = 0.0
        """Weight of the mean |f - z|."""
        standardize: Standardization = False
        """Bring each teacher dimension to mean 0, variance 1: by running statistics, or by those of a pass
        before the first step (calibrated)."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__(config, context, config.standardize)
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
        # The mean of translated frames is, for a linear translator, the translated mean.
        student = self._translated(inputs).masked_fill(~frames.unsqueeze(2), 0.0).sum(dim=1, keepdim=True)
        student = student / frames.sum(dim=1).clamp(min=1)[:, None, None]
        return self._mean(*t_axis(student, teacher, counts, self.config.form, self.config.l1_weight))


def parse_attach(attach: str, num_codebooks: int, name: str) -> int | None:
    """Number of quantizer layers of an attach point; ``None`` for ``latent`` and ``quantized``.

    Raises:
        CodecError: for another word, or more layers than the model has.
    """
    if attach in ("latent", "quantized"):
        return None
    if attach == "output":
        raise CodecError(
            f"losses.{name}.attach: output is the decoded audio, for which there is type: output_features; "
            "what the decoder is given is called quantized"
        )
    match = re.fullmatch(r"rvq1(?:-(\d+))?", attach)
    layers = int(match[1] or 1) if match else 0
    if not 1 <= layers <= num_codebooks:
        raise CodecError(
            f"losses.{name}.attach: {attach!r} is no attach point; "
            f"choose latent, quantized, rvq1 or rvq1-K with K up to {num_codebooks}"
        )
    return layers
