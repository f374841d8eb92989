"""All settings of a training run, read from one YAML file."""

from dataclasses import dataclass, field
from typing import Any, Literal

from codec.align.registry import read_words_config
from codec.data.loading.config import DataConfig
from codec.errors import CodecError
from codec.model.config import CodecConfig
from codec.teachers.teaching import TeacherSource
from codec.train.balancer import BalancerConfig
from codec.train.optimizer import OptimizerConfig, ScheduleConfig
from codec.train.quantizers import QuantizerTrainingConfig
from codec.train.tasks.base import RunConfig
from codec.train.weighting import WeightingConfig


@dataclass(frozen=True)
class AdversaryConfig:
    """The discriminators' side."""

    start_step: int = 0
    """First step with discriminators."""
    every: int = 1
    """Steps per update of the discriminators; the generator's losses use them in every step."""
    kind: Literal["hinge", "lsgan", "relativistic"] = "hinge"
    """Of the loss; losses of type ``adversarial`` have the same."""
    reduction: Literal["mean", "sum"] = "mean"
    """Over sub-discriminators."""
    warmup_steps: int = 0
    """Steps from the start in which the discriminators learn alone while the generator stands still."""
    ramp_steps: int = 0
    """Steps after these in which the weights of the adversarial losses rise linearly from 0."""
    crop_frames: int | None = None
    """Codec frames at the end of each crop that the discriminators see; all by default."""
    min_loss: float = 0.02
    """A run ends when the loss of one sub-discriminator, averaged over about 200 steps, stays below this part of
    its value at chance: it tells decoded from real audio without error, so its gradient teaches no more. 0: never."""
    optimizer: OptimizerConfig | None = None
    """The generator's by default."""
    gradient_penalty: float = 0.0
    """Weight of half the mean squared slope of the logits at recordings and at decoded audio (R1 and R2), which
    keeps relativistic training from diverging. It costs the discriminators a second backward pass."""


@dataclass(frozen=True)
class TrainConfig(RunConfig):
    """A training run of a codec."""

    model: CodecConfig = field(default_factory=CodecConfig)
    quantizer: QuantizerTrainingConfig = field(default_factory=QuantizerTrainingConfig)
    data: DataConfig = field(default_factory=DataConfig)
    teachers: dict[str, TeacherSource] = field(default_factory=dict)
    words: Any = None
    """Aligner: a type (ctc by default) and that type's keys. It times the words of clips for teachers
    that work on the fly and need them."""
    losses: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By name, which is the tag in the log: weight, type (the name by default) and the type's options."""
    weighting: WeightingConfig = field(default_factory=WeightingConfig)
    """Of the teachers' losses among each other."""
    balancer: BalancerConfig | None = None
    """Makes weights shares of the gradient; fixed weights without."""
    discriminators: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Discriminators by name, with their options."""
    adversary: AdversaryConfig = field(default_factory=AdversaryConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema_decay: float = 0.999
    """Decay of the averaged weights that are exported."""
    precision: str = "bf16"
    """bf16 or fp32, of the networks; quantizer and losses are fp32."""
    compile: bool = False
    """torch.compile the networks."""
    cuda_graphs: bool = False
    """Record the step and replay it: on a GPU, launching its small kernels takes longer than they do."""
    freeze: tuple[Literal["encoder", "quantizer", "decoder"], ...] = ()
    """Parts that stay as they are; without encoder and quantizer among them, tokens change their meaning."""
    freeze_weights: tuple[str, ...] = ()
    """Patterns of the model's weights that stay too, such as ``encoder.backbone.embed.*``."""
    heads_first: float = 0.0
    """Share of the steps at the start that train the heads of losses alone, so that a random head does not
    spoil the model (Speech-FT: 0.1). The quantizer has to be frozen."""

    def __post_init__(self) -> None:
        if self.words is not None:
            object.__setattr__(self, "words", read_words_config(self.words))
        super().__post_init__()
        _check_precision(self.precision)
        positive = {
            "data.crop_frames": self.data.crop_frames,
            "data.batch_size": self.data.batch_size,
            "data.workers": self.data.workers,
            "adversary.every": self.adversary.every,
        }
        for name, value in positive.items():
            if value < 1:
                raise CodecError(f"config {name}: expected at least 1, got {value}")
        if not 0 <= self.ema_decay < 1:
            raise CodecError(f"config ema_decay: expected a number in [0, 1), got {self.ema_decay}")
        self._check_freezing()
        if not self.losses:
            raise CodecError("config losses: none given; name at least one, e.g. mel: {weight: 1}")
        if not self.data.manifests:
            raise CodecError("config data.manifests: none given; make one with codec prepare")
        if self.cuda_graphs and (self.balancer is not None or self.optimizer.name != "adamw"):
            raise CodecError("config cuda_graphs: works with adamw and without a balancer")
        if self.cuda_graphs and any(options.get("type", name) == "ctc" for name, options in self.losses.items()):
            raise CodecError("config cuda_graphs: texts differ in length, so the loss ctc cannot be recorded")
        if self.cuda_graphs and self.weighting.mode != "constant":
            raise CodecError("config cuda_graphs: works with weighting.mode constant")
        self._check_adversary()

    def _check_adversary(self) -> None:
        adversary = self.adversary
        if adversary.crop_frames is not None and adversary.crop_frames < 1:
            raise CodecError(f"config adversary.crop_frames: expected at least 1, got {adversary.crop_frames}")
        if min(adversary.warmup_steps, adversary.ramp_steps, adversary.gradient_penalty) < 0:
            raise CodecError("config adversary: warmup_steps, ramp_steps and gradient_penalty must be 0 or more")
        if self.balancer is not None and adversary.ramp_steps:
            raise CodecError(
                "config adversary.ramp_steps: a balancer undoes a weight that rises; set ramp_steps=0, or balancer=null"
            )
        types = {name: options.get("type", name) for name, options in self.losses.items()}
        adversarial = [name for name, kind in types.items() if kind in ("adversarial", "feature_matching")]
        if adversarial and not self.discriminators:
            raise CodecError(
                f"config losses.{min(adversarial)}: needs discriminators, and none are configured"
            )
        for name in adversarial:
            kind = self.losses[name].get("kind", "hinge")
            if types[name] == "adversarial" and kind != adversary.kind:
                raise CodecError(
                    f"config losses.{name}.kind: is {kind!r} where adversary.kind is {adversary.kind!r}; set them alike"
                )
        if self.discriminators and not adversarial:
            raise CodecError(
                "config discriminators: nothing uses them; add the losses adversarial and "
                "feature_matching, or remove them"
            )

    def _check_freezing(self) -> None:
        used = {"freeze": self.freeze, "freeze_weights": self.freeze_weights, "heads_first": self.heads_first}
        for name, value in used.items():
            if value and self.init_from is None and not self.resume:
                raise CodecError(f"config {name}: frozen parts come from a model; set init_from")
        if not 0 <= self.heads_first < 1:
            raise CodecError(f"config heads_first: expected a share in [0, 1), got {self.heads_first}")
        if self.heads_first and "quantizer" not in self.freeze:
            raise CodecError("config heads_first: codebooks move with every batch; add quantizer to freeze")
        if self.heads_first and self.cuda_graphs:
            raise CodecError("config heads_first: a recorded step cannot change; set cuda_graphs=false")


def _check_precision(precision: str) -> None:
    if precision == "fp16":
        raise CodecError(
            "config precision: fp16 overflows in the discriminators and in squared spectra (largest "
            "number 65504) and needs loss scaling, which breaks exact resume; use bf16 or fp32"
        )
    if precision not in ("bf16", "fp32"):
        raise CodecError(f"config precision: {precision!r} is none of bf16, fp32")
