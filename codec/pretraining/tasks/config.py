"""All settings of a masked pre-training, read from one YAML file."""

from dataclasses import dataclass, field
from typing import Literal

from codec.distilling.config import EmbeddingDataConfig
from codec.errors import CodecError
from codec.model.config import CodecConfig
from codec.pretraining.models.config import PatchEncoderConfig
from codec.pretraining.objective.config import (
    ClassesConfig,
    HypothesesConfig,
    PredictorConfig,
    TeacherConfig,
    WeightsConfig,
)
from codec.pretraining.objective.diagnostics import CollapseConfig
from codec.train.optimizer import OptimizerConfig
from codec.train.tasks.base import RunConfig


@dataclass(frozen=True)
class MaskedDataConfig(EmbeddingDataConfig):
    """What is trained on: crops of one length, none of them padded."""

    held_out: int = 32
    """Clips, evenly spread, that are kept aside; predictions are compared with their baselines on them."""
    batch_size: int = 32
    """Crops of a step, over all processes."""
    skip_short: bool = False
    """Leave out clips that are shorter than a crop instead of stopping; they are counted."""
    domain_weights: dict[str, float] = field(default_factory=dict)
    """Share of crops by the clips' domain; by default all seconds are equally likely."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.held_out < 2:
            raise CodecError(f"config data.held_out: expected at least 2 clips to compare, got {self.held_out}")


@dataclass(frozen=True)
class MaskedConfig(RunConfig):
    """A masked pre-training of any encoder."""

    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    hypotheses: HypothesesConfig = field(default_factory=HypothesesConfig)
    classes: ClassesConfig = field(default_factory=ClassesConfig)
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    weights: WeightsConfig = field(default_factory=WeightsConfig)
    collapse: CollapseConfig = field(default_factory=CollapseConfig)
    data: MaskedDataConfig = field(default_factory=MaskedDataConfig)
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(lr=3e-4, betas=(0.9, 0.95), eps=1e-6, weight_decay=0.05, clip=3.0)
    )
    warmup_share: float = 1 / 15
    """Share of the run over which the learning rate rises; it falls to 0 along a cosine."""
    precision: Literal["bf16", "fp32"] = "fp32"
    """Of the networks' matrix products; losses, targets and weights are float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data.manifests:
            raise CodecError("config data.manifests: none given; make one with codec prepare")
        if not 0 <= self.warmup_share <= 1:
            raise CodecError(f"config warmup_share: expected a share in [0, 1], got {self.warmup_share}")


@dataclass(frozen=True)
class MatpacConfig(MaskedConfig):
    """Masked prediction of patches of a log-mel spectrogram: MATPAC, and MATPAC++ with several hypotheses."""

    task: str = "matpac"
    """Kind of training."""
    encoder: PatchEncoderConfig = field(default_factory=PatchEncoderConfig)
    mask_ratio: float = 0.7
    """Share of the patches that is masked."""


@dataclass(frozen=True)
class MaskedFramesConfig(MaskedConfig):
    """Masked prediction of a codec's own latent frames, before it is trained as a codec."""

    task: str = "masked_frames"
    """Kind of training."""
    model: CodecConfig = field(default_factory=CodecConfig)
    """The codec whose encoder is trained; decoder and quantizer play no part."""
    crop_frames: int = 150
    """Frames of a crop."""
    span: int = 16
    """Frames that are masked in one piece; longer than what one frame hears, or neighbours give it away."""
    mask_ratio: float = 0.5
    """Share of the frames that is masked."""
    teacher_hears: Literal["all", "complement"] = "all"
    """The whole crop, or only what is hidden from the student, which is nearer to MATPAC."""
