"""Distillation of teachers into the quantizer: one loss, registered once per teacher."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.train.distributed import all_reduce_sum, world_size
from codec.train.losses.context import LossContext
from codec.train.losses.registry import loss
from codec.train.losses.similarity import Axis, Form, d_axis, t_axis
from codec.train.losses.standardize import Standardize
from codec.train.types import LossInput, QuantizerOutput, TeacherFrames


class Distillation(nn.Module):
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
    together, each with its weight.

    The attach point ``rvq1-K`` is the sum of layers 1 to K, whose scale the head absorbs (DM-Codec
    averages them); one straight-through step carries its gradient to the encoder.

    A further teacher is one registration: ``@loss("distill_music")`` on an empty subclass takes
    ``teachers["music"]`` of the batch.
    """

    name: str

    @dataclass(frozen=True)
    class Config:
        """How one teacher is distilled."""

        attach: str = "rvq1"
        """rvq1, rvq1-K (layers 1 to K) or latent (before the quantizer)."""
        axis: Axis = "d"
        """d: cosine over time for each dimension; t: cosine over dimensions for each frame."""
        form: Form = "log_sigmoid"
        """What is made of a cosine: -log sigmoid(cos), or 1 - cos."""
        l1_weight: float = 1.0
        """Weight of the mean |F - Z| on the t axis."""
        standardize: bool = False
        """Bring each teacher dimension to mean 0, variance 1 by running statistics."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        self.teacher = self.name.removeprefix("distill_")
        if self.teacher not in context.teacher_dims:
            known = ", ".join(sorted(context.teacher_dims)) or "none"
            raise CodecError(
                f"losses.{self.name} needs a teacher {self.teacher!r}, configured: {known}; "
                f"add teachers.{self.teacher} or remove the loss"
            )
        dim = context.teacher_dims[self.teacher]
        self.config = config
        self.layers = parse_attach(config.attach, context.num_codebooks, self.name)
        self.head = nn.Linear(context.latent_dim, dim)
        self.standardize = Standardize(dim) if config.standardize else None

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
        if self.teacher not in inputs.batch.teachers:
            raise ValueError(f"{self.name}: the batch holds no features of teacher {self.teacher!r}")
        frames = inputs.batch.teachers[self.teacher]
        if frames.mask.shape != inputs.batch.mask.shape:
            raise ValueError(
                f"{self.name}: expected teacher frames {tuple(inputs.batch.mask.shape)}, "
                f"got {tuple(frames.mask.shape)}"
            )
        return frames

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
            f"losses.{name}.attach: {attach!r} is no attach point; "
            f"choose latent, rvq1 or rvq1-K with K up to {num_codebooks}"
        )
    return layers


@loss("distill_sm")
class SpeechDistillation(Distillation):
    """:class:`Distillation` of a speech model (HuBERT, WavLM, Whisper's encoder)."""


@loss("distill_lm")
class LanguageDistillation(Distillation):
    """:class:`Distillation` of a language model, aligned with the audio."""
