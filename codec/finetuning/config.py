"""All settings of a fine-tuning of a speech encoder, read from one YAML file."""

from dataclasses import dataclass, field

from codec.asr.alphabet import CHARACTERS
from codec.asr.head import CtcHeadConfig
from codec.errors import CodecError
from codec.train.optimizer import OptimizerConfig, ScheduleConfig
from codec.train.tasks.base import RunConfig


@dataclass(frozen=True)
class SpokenDataConfig:
    """What is trained on: clips with a text."""

    manifests: tuple[str, ...] = ()
    """JSONL files, see codec prepare."""
    root: str | None = None
    """Folder that the manifests' paths are relative to; each manifest's own by default."""
    max_clips: int | None = None
    """Use this many clips, evenly spread over the manifests; all by default."""
    max_seconds: float = 16.0
    """Longer clips are left out."""
    skip_bad_audio: bool = False
    """Leave out clips that cannot be decoded instead of stopping; they are listed."""
    cache: str = "cache/audio"
    """Folder for the decoded audio."""
    batch_size: int = 8
    """Clips of a step."""
    workers: int = 1
    """Threads that make batches."""
    prefetch: int = 4
    """Batches made ahead."""

    def __post_init__(self) -> None:
        if not self.manifests:
            raise CodecError("config data.manifests: none given; make one with codec prepare")
        if self.batch_size < 1 or self.workers < 1 or self.max_seconds <= 0:
            raise CodecError("config data: batch_size, workers and max_seconds must be positive")


@dataclass(frozen=True)
class EncoderConfig(RunConfig):
    """A fine-tuning of a speech encoder by CTC over characters; the defaults are Speech-FT's."""

    task: str = "encoder"
    """Kind of training."""
    encoder: str = "facebook/hubert-base-ls960"
    """The base: a folder that save_pretrained wrote, or a hub id, of HuBERT, wav2vec 2.0, WavLM or their kin."""
    data: SpokenDataConfig = field(default_factory=SpokenDataConfig)
    alphabet: str = CHARACTERS
    """Characters that the head writes; clips with others are left out."""
    head: CtcHeadConfig = field(default_factory=lambda: CtcHeadConfig(layers=3))
    freeze_weights: tuple[str, ...] = ("feature_extractor.*",)
    """Patterns of weights that stay as they are; the convolutional front by default."""
    heads_first: float = 0.1
    """Share of the steps at the start that train the head alone."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(lr=1e-4, betas=(0.9, 0.999), weight_decay=0.0)
    )
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig(kind="tri_stage", floor=0.0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.heads_first < 1:
            raise CodecError(f"config heads_first: expected a share in [0, 1), got {self.heads_first}")
        if self.init_from is not None:
            raise CodecError("config init_from: a run of this task starts from encoder; name it there")
