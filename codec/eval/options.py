"""The options of ``codec eval``; light to import, for the command's help."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from codec.errors import CodecError

MAX_DELAY_SECONDS = 0.25
TIMEOUT = 1800.0

Method = Literal["waveform", "envelope"]


@dataclass(frozen=True)
class Selection:
    """A reproducible choice of clips: filters first, then counts, always in name order."""

    min_seconds: float = 0.0
    """Skip shorter clips (seconds)."""
    max_seconds: float = float("inf")
    """Skip longer clips (seconds)."""
    per_speaker: int | None = None
    """Limit on the clips of each speaker; the first ones are kept."""
    limit: int | None = None
    """Limit on the remaining clips; the first ones are kept."""


@dataclass(frozen=True)
class ClipsConfig:
    """Recordings of one or more manifests."""

    manifests: tuple[str, ...]
    """JSONL files or folders of recordings."""
    root: str | None = None
    """Folder that the manifests' paths are relative to; each manifest's own by default."""
    max_clips: int | None = None
    """Use this many, evenly spread over the manifests; all by default."""
    selection: Selection = field(default_factory=Selection)
    """The same as the options of codec eval; applied before max_clips."""


@dataclass(frozen=True)
class Options:
    """Settings of an evaluation."""

    out: Path = Path("report")
    """Folder of the report; a run there is resumed."""
    models: list[str] = field(default_factory=list)
    """A model's name or folder; may be repeated. By default the model default, unless baselines are given."""
    codebooks: list[int] | None = None
    """Numbers of codebooks, as 1,2,4,8; all by default."""
    baselines: list[str] = field(default_factory=list)
    """opus:KBPS, speex:KBPS, codec2:MODE, hf:ID@KBPS, dir:NAME@KBPS=FOLDER, engine:MODEL=ENGINE; separated
    by commas."""
    encoders: list[str] = field(default_factory=list)
    """An encoder for the probes linear and finetune: what codec embed takes as --model, also with @OUTPUT or @LAYER;
    may be repeated."""
    measures: list[str] | None = None
    """Metrics, separated by commas; by default all installed ones, WER with --asr. None where probes are enough:
    none."""
    asr: str | None = None
    """faster-whisper folder, or a transformers id or folder, for WER."""
    speaker_model: str | None = None
    """transformers x-vector model, for the metric xvector."""
    tag_model: str | None = None
    """Folder of musicnn (msd_musicnn.onnx), for the metric tags of music."""
    probes: list[str] = field(default_factory=list)
    """What the tokens mean: phone,text,speaker,fewshot,notes,abx,lm; what vectors mean: linear,finetune; or what
    other packages register."""
    probe_train: Path | None = None
    """Manifest that probes are trained on."""
    selection: Selection = field(default_factory=Selection)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; as many as cores by default."""
    timeout: float = TIMEOUT
    """Seconds for one clip through one system and all metrics, loading their models included; then only what
    hangs is skipped. Needs at least one worker process."""
    players: int = 3
    """Clips to listen to in the page."""
    max_delay: float = MAX_DELAY_SECONDS
    """Largest delay to look for, in seconds."""
    align: Method = "waveform"
    """How to find the delay where waveforms hardly match: by their best lag, or by envelopes."""
    seed: int = 0
    """Seed of the bootstrap and the probes."""
    device: str = "cpu"
    """Of our models: auto, cpu, cuda or mps."""
    root: str | None = None
    """Folder that the paths in manifests are relative to; each manifest's own by default."""

    def __post_init__(self) -> None:
        if not self.timeout > 0:
            raise CodecError(f"--timeout is {self.timeout:g}; it must be above 0 s")
