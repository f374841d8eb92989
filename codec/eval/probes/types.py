"""The inputs and results of probes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from codec.align.types import Omitted
from codec.data import Clip
from codec.errors import CodecError
from codec.eval.probes.sources import TokenSource, View
from codec.eval.probes.statistics import ProbeInterval


@dataclass(frozen=True)
class CodedClip:
    """A clip and its tokens.

    Attributes:
        codes: ``(K, T)`` int64.
    """

    clip: Clip
    codes: Tensor

    @property
    def speaker(self) -> str:
        """The speaker; a clip that names none counts as a separate speaker."""
        return self.clip.speaker or f"unknown:{self.clip.name}"


@dataclass(frozen=True)
class Finding:
    """One result of a probe.

    Attributes:
        name: what is measured, e.g. ``phone_accuracy``.
        codebooks: the layers used, e.g. ``1`` or ``1-8``.
        features: how the tokens were shown to the probe, e.g. ``one-hot``.
        value: the result.
        low, high: 95 % confidence interval; None where the clips are too few for one.
        baseline: the same result for tokens without information.
        better: ``higher``, ``lower`` or ``neither``, for a tokenizer whose tokens should mean this.
        clips: number of clips behind the result.
        units: speakers (or clips) that the bootstrap drew from.
        unit: ``speaker`` or ``clip``.
    """

    name: str
    codebooks: str
    features: str
    value: float
    low: float | None
    high: float | None
    baseline: float
    better: str
    clips: int
    units: int
    unit: str

    @classmethod
    def of(
        cls, name: str, view: View, value: float, interval: ProbeInterval, baseline: float, better: str, clips: int
    ) -> "Finding":
        """A measure of one view of the tokens."""
        return cls(
            name=name,
            codebooks=view.codebooks,
            features=view.features,
            value=float(value),
            low=interval.low,
            high=interval.high,
            baseline=float(baseline),
            better=better,
            clips=clips,
            units=interval.units,
            unit=interval.unit,
        )


@dataclass
class ProbeResult:
    """All that a probe found.

    Attributes:
        per_clip: by clip name, the counts behind the measures.
        settings: the probe's configuration.
    """

    probe: str
    measures: list[Finding] = field(default_factory=list)
    skipped: list[Omitted] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    per_clip: dict[str, dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def measure(self, name: str, codebooks: str = "1", features: str | None = None) -> Finding:
        """The measure of that name.

        Raises:
            KeyError: when the probe has none.
        """
        for measure in self.measures:
            same = (measure.name, measure.codebooks) == (name, codebooks)
            if same and features in (None, measure.features):
                return measure
        raise KeyError(f"{self.probe}: no measure {name} of codebooks {codebooks}")


@dataclass(frozen=True)
class ProbeTask:
    """The tokenizer and the clips that it is probed with.

    Attributes:
        clips: what is measured.
        train_clips: more clips, to train probes that need many; may be empty.
        out: folder for results and caches.
        shared: folder for what does not depend on the tokens; ``out`` by default.
    """

    tokens: TokenSource
    clips: list[Clip]
    train_clips: list[Clip]
    seed: int
    out: Path
    shared: Path | None = None

    def code(self, clips: Iterable[Clip], skipped: list[Omitted]) -> list[CodedClip]:
        """Tokens of the clips; a clip that has none is added to ``skipped`` instead."""
        coded = []
        for clip in clips:
            try:
                coded.append(CodedClip(clip, self.tokens.codes(clip)))
            except CodecError as error:
                skipped.append(Omitted(clip.name, str(error)))
        return coded
