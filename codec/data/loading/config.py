"""Settings of what is trained on: clips, crops and teachers' features."""

from dataclasses import dataclass, field

from codec.data.augment import AugmentationConfig
from codec.errors import CodecError


@dataclass(frozen=True)
class DataConfig:
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
    """Folder for the decoded audio (115 MB per hour at 16 kHz)."""
    crop_frames: int = 100
    """Frames of a crop; shorter clips are padded and masked."""
    batch_size: int = 16
    """Crops of a step, over all processes."""
    domain_weights: dict[str, float] = field(default_factory=dict)
    """Share of crops by the clips' domain; by default all seconds are equally likely."""
    domain_quota: dict[str, int] = field(default_factory=dict)
    """Instead of shares: the exact number of crops of each domain in every step; they add up to batch_size."""
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    workers: int = 1
    """Threads that make batches."""
    processes: int = 0
    """Processes that make batches instead, for a GPU that outruns threads."""
    prefetch: int = 4
    """Batches made ahead."""

    def __post_init__(self) -> None:
        total = sum(self.domain_quota.values())
        if self.domain_quota and total != self.batch_size:
            raise CodecError(f"config data.domain_quota: {total} crops in all, and batch_size is {self.batch_size}")
