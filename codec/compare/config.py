"""Settings of a comparison, read from one YAML file."""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

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
class MergesConfig:
    """Merges of variants with their base, which is their init_from: a row for each alpha, or each list of lambdas."""

    of: tuple[str, ...]
    """The variants."""
    alpha: tuple[float, ...] = ()
    """Each makes lambdas of alpha / K for K variants (Speech-FT)."""
    weights: tuple[tuple[float, ...], ...] = ()
    """Lambdas of the variants, in their order."""
    method: Literal["linear", "ties", "dare"] = "linear"
    density: float = 1.0
    """Share of each vector's entries that ties and dare keep."""
    permuted: tuple[str, ...] = ()
    """Variants whose hidden channels are put into another order before the merge: the same function, as another
    initialisation would have made it. A control that should fail."""
    seeds: tuple[int, ...] | None = None
    """Seeds of the variants; those of the comparison by default."""

    @property
    def choices(self) -> list[tuple[tuple[float, ...], str]]:
        """Lambdas of each row, and their name."""
        alphas = [((alpha / len(self.of),) * len(self.of), f"{alpha:g}") for alpha in self.alpha]
        return alphas + [(weights, "-".join(f"{weight:g}" for weight in weights)) for weights in self.weights]


@dataclass(frozen=True)
class ScoringConfig:
    """The scoring of a trained model."""

    sound: dict[str, SoundConfig] = field(default_factory=dict)
    """Sets of decoded clips by any name, which precedes the metrics' names in the table."""
    probes: dict[str, ProbeConfig] = field(default_factory=dict)
    """Probes by name: phone, text, speaker, fewshot, notes, abx."""
    tokens: ClipsConfig | None = None
    """Recordings for the share of tokens that are those of init_from."""
    ctc: ClipsConfig | None = None
    """Recordings with texts that the head of the loss ctc reads, as it was trained."""
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
    merges: dict[str, MergesConfig] = field(default_factory=dict)
    """Merges of variants by name, scored as variants are."""
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
    earlier: tuple[str, ...] = ()
    """Files finished.jsonl that this comparison wrote elsewhere: on another machine, or on one that is lost. Their runs
    are not made again."""
    frontier: tuple[str, str] | None = None
    """Two scores to draw against each other, in frontier.png."""

    def __post_init__(self) -> None:
        if not self.variants or not self.seeds:
            raise CodecError("config variants, seeds: name at least one of each")
        for name in self.variants:
            if not _NAME.fullmatch(str(name)):
                raise CodecError(f"config variants: {name!r} becomes a folder; use letters, digits and ._-")
        self._check_merges()
        if self.merges and self.earlier:
            raise CodecError("config earlier: these files hold no models, which merges need; leave out one of the two")
        if self.control is not None and self.control not in self.names:
            raise CodecError(f"config control: {self.control!r} is none of {', '.join(self.names)}")
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
        scoring = self.scoring
        if not (scoring.sound or scoring.probes or scoring.tokens or scoring.ctc):
            raise CodecError("config scoring: name something under sound or probes")
        for name, changes in {"overrides": self.overrides, **self.variants}.items():
            _refuse_ours(name, changes)

    @property
    def merge_rows(self) -> dict[str, tuple[MergesConfig, tuple[float, ...]]]:
        """Settings and lambdas of each merge by the name of its row, which ends in the lambdas where there are more."""
        return {
            f"{name}-{label}" if len(settings.choices) > 1 else name: (settings, weights)
            for name, settings in self.merges.items()
            for weights, label in settings.choices
        }

    @property
    def names(self) -> list[str]:
        """Of all rows: variants, then merges."""
        return [*self.variants, *self.merge_rows]

    def seeds_of(self, name: str) -> tuple[int, ...]:
        """Seeds that a variant is trained with, or merged from."""
        if name in self.variants:
            return self.variant_seeds.get(name, self.seeds)
        return self.merge_rows[name][0].seeds or self.seeds

    def _check_merges(self) -> None:
        for name, (settings, weights) in self.merge_rows.items():
            if not _NAME.fullmatch(name) or name in self.variants:
                raise CodecError(f"config merges: {name!r} becomes a folder of its own; use letters, digits and ._-")
            unknown = [part for part in (*settings.of, *settings.permuted) if part not in self.variants]
            if unknown or not settings.of:
                raise CodecError(f"config merges.{name}.of: expected some of {', '.join(self.variants)}, got {unknown}")
            if len(weights) != len(settings.of):
                raise CodecError(f"config merges.{name}.weights: {len(settings.of)} lambdas are needed, not {weights}")
            missing = [s for s in self.seeds_of(name) for part in settings.of if s not in self.seeds_of(part)]
            if missing:
                raise CodecError(f"config merges.{name}: its variants are not trained with seed {missing[0]}")
        silent = [name for name, settings in self.merges.items() if not settings.choices]
        if silent:
            raise CodecError(f"config merges.{silent[0]}: neither alpha nor weights are given; give some")


def _refuse_ours(name: str, changes: dict[str, Any]) -> None:
    quantizer = changes.get("quantizer")
    taken = [key for key in _OURS if key in changes]
    taken += ["quantizer.seed"] if isinstance(quantizer, dict) and "seed" in quantizer else []
    if taken:
        raise CodecError(f"config {name}.{taken[0]}: the comparison sets it itself, for every run")
