"""All settings of a training run, read from one YAML file."""

from dataclasses import dataclass, field
from typing import Any, Literal

from codec.align.registry import read_words_config
from codec.data.augment import AugmentationConfig
from codec.errors import CodecError
from codec.model.config import CodecConfig
from codec.train.balancer import BalancerConfig
from codec.train.optimizer import OptimizerConfig, ScheduleConfig
from codec.train.quantizers import QuantizerTrainingConfig
from codec.train.tasks.base import RunConfig


@dataclass(frozen=True)
class DataConfig:
    """The training data."""

    manifests: tuple[str, ...] = ()
    """JSONL files, see codec prepare, or folders of audio."""
    root: str | None = None
    """Folder that the manifests' paths are relative to; each manifest's own by default."""
    max_clips: int | None = None
    """Use this many clips, evenly spread over the manifests; all by default."""
    skip_bad_audio: bool = False
    """Skip clips that cannot be decoded instead of stopping; they are listed."""
    cache: str = "cache/audio"
    """Folder for the decoded audio (115 MB per hour at 16 kHz)."""
    crop_frames: int = 100
    """Frames of a crop; shorter clips are padded and masked."""
    batch_size: int = 16
    """Crops of a step, over all processes."""
    domain_weights: dict[str, float] = field(default_factory=dict)
    """Share of crops by the clips' domain; by default all seconds are equally likely."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    workers: int = 1
    """Threads that make batches."""
    processes: int = 0
    """Processes that make batches instead, for a GPU that outruns threads."""
    prefetch: int = 4
    """Batches made ahead."""


@dataclass(frozen=True)
class AdversaryConfig:
    """The discriminators' side."""

    start_step: int = 0
    """First step with discriminators."""
    every: int = 1
    """Steps per update of the discriminators; the generator's losses use them in every step."""
    kind: Literal["hinge", "lsgan"] = "hinge"
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


@dataclass(frozen=True)
class TeacherSource:
    """Features that distillation losses compare with."""

    features: str = "cache/features"
    """Cache folder of codec features."""
    name: str | None = None
    """The teacher's name in that cache; its name here by default."""
    extract: dict[str, Any] | None = None
    """A teacher (type, model, ...) that computes on the fly what the cache lacks."""
    teacher: str | None = None
    """Refuse features of another teacher, layer, rate or mode; anything goes by default."""
    layer: str | None = None
    rate: float | None = None
    mode: str | None = None


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
    """Losses by name, which is the tag in the log: weight, type (the name by default) and options."""
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
    """Record the step and replay it: on a GPU, launching its small kernels takes longer than computing them."""
    freeze: tuple[Literal["encoder", "quantizer"], ...] = ()
    """Parts that are not trained; with both, tokens keep their meaning and the decoder alone is trained."""

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
        if self.freeze and self.init_from is None and not self.resume:
            raise CodecError("config freeze: frozen parts come from a model; set init_from")
        if not self.losses:
            raise CodecError("config losses: none given; name at least one, e.g. mel: {weight: 1}")
        if not self.data.manifests:
            raise CodecError("config data.manifests: none given; make one with codec prepare")
        if self.cuda_graphs and (self.balancer is not None or self.optimizer.name != "adamw"):
            raise CodecError("config cuda_graphs: works with adamw and without a balancer")
        self._check_adversary()

    def _check_adversary(self) -> None:
        adversary = self.adversary
        if adversary.crop_frames is not None and adversary.crop_frames < 1:
            raise CodecError(f"config adversary.crop_frames: expected at least 1, got {adversary.crop_frames}")
        if min(adversary.warmup_steps, adversary.ramp_steps) < 0:
            raise CodecError("config adversary: warmup_steps and ramp_steps must be 0 or more")
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
        if self.discriminators and not adversarial:
            raise CodecError(
                "config discriminators: nothing uses them; add the losses adversarial and "
                "feature_matching, or remove them"
            )


def _check_precision(precision: str) -> None:
    if precision == "fp16":
        raise CodecError(
            "config precision: fp16 overflows in the discriminators and in squared spectra (largest "
            "number 65504) and needs loss scaling, which breaks exact resume; use bf16 or fp32"
        )
    if precision not in ("bf16", "fp32"):
        raise CodecError(f"config precision: {precision!r} is none of bf16, fp32")
