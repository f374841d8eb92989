"""All settings of an embedding-only distillation, read from one YAML file."""

from dataclasses import dataclass, field
from typing import Any, Literal

from codec.data.clusters import ClusterConfig
from codec.errors import CodecError
from codec.eval.probes.embedding import EmbeddingProbeConfig
from codec.students.config import StudentConfig
from codec.teachers.teaching import TeacherSource
from codec.train.optimizer import OptimizerConfig, ScheduleConfig
from codec.train.tasks.base import RunConfig

Normalization = Literal["none", "center", "standardize"]


@dataclass(frozen=True)
class EmbeddingDataConfig:
    """What is trained on."""

    manifests: tuple[str, ...] = ()
    """JSONL files, see codec prepare, or folders of audio."""
    root: str | None = None
    """Folder that the manifests' paths are relative to; each manifest's own by default."""
    max_clips: int | None = None
    """Use this many clips, evenly spread over the manifests; all by default."""
    skip_bad_audio: bool = False
    """Leave out clips that cannot be decoded instead of stopping; they are listed."""
    cache: str = "cache/audio"
    """Folder for the decoded audio."""
    held_out: int = 64
    """Clips, evenly spread, that are held out; the gain over a constant is measured on them."""
    batch_size: int = 32
    """Windows of a step, over all processes."""
    workers: int = 1
    """Threads that make batches."""
    prefetch: int = 4
    """Batches made ahead."""

    def __post_init__(self) -> None:
        for name in ("held_out", "batch_size", "workers"):
            if getattr(self, name) < 1:
                raise CodecError(f"config data.{name}: expected at least 1, got {getattr(self, name)}")


@dataclass(frozen=True)
class HeadConfig:
    """The map from the student's vector to the teacher's; no part of the shipped student."""

    hidden: int = 1280
    """Units of the layer between; 0 for a linear map."""
    dropout: float = 0.2
    """Of that layer."""

    def __post_init__(self) -> None:
        if self.hidden < 0 or not 0 <= self.dropout < 1:
            raise CodecError("config head: hidden must be at least 0 and dropout in [0, 1)")


@dataclass(frozen=True)
class EmbeddingConfig(RunConfig):
    """A distillation of a teacher's vectors, one for each clip, into a small encoder."""

    task: str = "embedding"
    """Kind of training."""
    student: StudentConfig = field(default_factory=StudentConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    data: EmbeddingDataConfig = field(default_factory=EmbeddingDataConfig)
    teacher: TeacherSource = field(default_factory=TeacherSource)
    """One vector for each clip; extract computes what the cache lacks before the first step."""
    teacher_parameters: float | None = None
    """Weights of the teacher, for the ratio that the report gives."""
    normalize: Normalization = "standardize"
    """The teacher's dimensions over the training clips: none, center (mean 0), standardize (variance 1 too)."""
    losses: dict[str, dict[str, Any]] = field(default_factory=lambda: {"cosine": {}})
    """By name, which is the tag in the log: weight, type (cosine, l1, mse, kl, contrastive) and its options."""
    clusters: ClusterConfig | None = None
    """Draw clips balanced by clusters of the teacher's vectors; all alike without."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-3, betas=(0.9, 0.999)))
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    ema_decay: float = 0.99
    """Of the weights that are exported."""
    probe: EmbeddingProbeConfig | None = None
    """Linear probes of student and teacher after the run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data.manifests:
            raise CodecError("config data.manifests: none given; make one with codec prepare")
        if not 0 <= self.ema_decay < 1:
            raise CodecError(f"config ema_decay: expected a number in [0, 1), got {self.ema_decay}")
