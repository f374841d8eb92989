"""Settings of a comparison, read from one YAML file."""

import re
from dataclasses import dataclass, field
from typing import Any

from codec.errors import CodecError
from codec.eval.options import ClipsConfig

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# Set for each run; a variant that set them would not be compared at equal terms.
_OURS = ("output", "seed", "resume", "threads")


@dataclass(frozen=True)
class SoundConfig:
    """Decoded clips, scored by metrics of codec eval."""

    clips: ClipsConfig
    measures: tuple[str, ...]
    codebooks: int | None = None
    """Number of layers that are decoded; all by default."""


@dataclass(frozen=True)
class ProbeConfig:
    """Tokens, scored by a probe of codec eval."""

    clips: ClipsConfig
    train: ClipsConfig | None = None
    """Clips that the probe is trained on; their speakers must not be among the tested ones."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of the probe, see docs/probes.md."""


@dataclass(frozen=True)
class ScoringConfig:
    """The scoring of a trained model."""

    sound: dict[str, SoundConfig] = field(default_factory=dict)
    """Sets of decoded clips by any name, which precedes the metrics' names in the table."""
    probes: dict[str, ProbeConfig] = field(default_factory=dict)
    """Probes by name: phone, text, speaker, fewshot, notes, abx."""
    asr: str | None = None
    """Recogniser for the metric wer."""
    speaker_model: str | None = None
    """Model for the metric xvector."""
    tag_model: str | None = None
    """Folder of musicnn for the metric tags."""
    seed: int = 0
    """Seed of probes and bootstrap, the same for all runs, so that they differ by training alone."""


@dataclass(frozen=True)
class CompareConfig:
    """A comparison: every variant is trained with every seed, and all are scored alike."""

    base: str
    """YAML of a training run."""
    output: str
    """Folder of the runs, table.md, results.json and figure.png."""
    variants: dict[str, dict[str, Any]]
    """Variants by name, each with its differences from base and overrides; null removes a setting."""
    scoring: ScoringConfig
    overrides: dict[str, Any] = field(default_factory=dict)
    """Differences from base in all runs."""
    control: str | None = None
    """Variant that the others are subtracted from, seed by seed."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of training and quantizer."""
    variant_seeds: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Seeds of single variants, instead of those above."""
    jobs: int = 1
    """Number of parallel runs, each in a separate process; 0 works in this process."""
    threads: int = 1
    """CPU threads of a run."""
    timeout: float | None = None
    """Seconds after which the process of a run is ended; the same command resumes it. Never by default."""
    table: tuple[str, ...] = ("*",)
    """Scores to show, in order; * and ? stand for any letters."""
    figure: tuple[str, ...] = ("*",)
    """Scores to draw."""

    def __post_init__(self) -> None:
        if not self.variants or not self.seeds:
            raise CodecError("config variants, seeds: name at least one of each")
        for name in self.variants:
            if not _NAME.fullmatch(str(name)):
                raise CodecError(f"config variants: {name!r} becomes a folder; use letters, digits and ._-")
        if self.control is not None and self.control not in self.variants:
            raise CodecError(f"config control: {self.control!r} is none of {', '.join(self.variants)}")
        for name, seeds in self.variant_seeds.items():
            if name not in self.variants or not seeds:
                raise CodecError(f"config variant_seeds.{name}: no such variant, or no seeds")
        for name, seeds in {"seeds": self.seeds, **self.variant_seeds}.items():
            if len(set(seeds)) < len(seeds):
                raise CodecError(f"config {name}: a seed occurs twice in {list(seeds)}")
        if self.jobs < 0 or self.threads < 1:
            raise CodecError(f"config jobs, threads: {self.jobs}, {self.threads} must be at least 0 and 1")
        if self.timeout is not None and self.timeout <= 0:
            raise CodecError(f"config timeout: {self.timeout} s are too few; leave it out to wait for ever")
        if not self.scoring.sound and not self.scoring.probes:
            raise CodecError("config scoring: name something under sound or probes")
        for name, changes in {"overrides": self.overrides, **self.variants}.items():
            _refuse_ours(name, changes)

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Seeds that a variant is trained with."""
        return self.variant_seeds.get(variant, self.seeds)


def _refuse_ours(name: str, changes: dict[str, Any]) -> None:
    quantizer = changes.get("quantizer")
    taken = [key for key in _OURS if key in changes]
    taken += ["quantizer.seed"] if isinstance(quantizer, dict) and "seed" in quantizer else []
    if taken:
        raise CodecError(f"config {name}.{taken[0]}: the comparison sets it itself, for every run")
