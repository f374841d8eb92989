"""What ``codec eval`` can be told; light to import, for the command's help."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

MAX_DELAY_SECONDS = 0.25

Method = Literal["waveform", "envelope"]


@dataclass(frozen=True)
class Selection:
    """A reproducible choice of clips: filters first, then counts, always in name order."""

    min_seconds: float = 0.0
    """Leave shorter clips out."""
    max_seconds: float = float("inf")
    """Leave longer clips out."""
    per_speaker: int | None = None
    """The first so many clips of each speaker."""
    limit: int | None = None
    """The first so many clips of those that are left."""


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
    """As the options of codec eval; applied before max_clips."""


@dataclass(frozen=True)
class Options:
    """Settings of an evaluation."""

    out: Path = Path("report")
    """Folder of the report; a run there is resumed."""
    models: list[str] = field(default_factory=list)
    """A model's name or folder; may be repeated. Without baselines: default. The original is always measured."""
    codebooks: list[int] | None = None
    """Numbers of codebooks, as 1,2,4,8; all by default."""
    baselines: list[str] = field(default_factory=list)
    """opus:KBPS, speex:KBPS, codec2:MODE, hf:ID@KBPS, dir:NAME@KBPS=FOLDER, engine:MODEL=ENGINE; commas
    between them."""
    measures: list[str] | None = None
    """Names with commas; all that are installed by default, WER with --asr."""
    asr: str | None = None
    """faster-whisper folder, or a transformers id or folder, for WER."""
    speaker_model: str | None = None
    """transformers x-vector model, for the measure xvector."""
    probes: list[str] = field(default_factory=list)
    """What the tokens mean: phone,text,speaker,fewshot,abx."""
    probe_train: Path | None = None
    """Manifest that probes are trained on."""
    selection: Selection = field(default_factory=Selection)
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    """Processes; as many as cores by default."""
    players: int = 3
    """Clips to listen to in the page."""
    max_delay: float = MAX_DELAY_SECONDS
    """Seconds within which to look for delay."""
    align: Method = "waveform"
    """Where waveforms hardly match: keep their best delay, or match envelopes."""
    seed: int = 0
    """Of bootstrap and probes."""
    device: str = "cpu"
    """Of our models: auto, cpu, cuda or mps."""
