"""The content of a report, independent of its form."""

from dataclasses import dataclass, field
from typing import Any

from codec.data.manifest import Clip
from codec.eval.measures.base import Column
from codec.eval.summary import SystemSummary
from codec.eval.types import Row


@dataclass(frozen=True)
class About:
    """All that is needed to repeat the run. There are no dates, so two runs give the same report."""

    command: str
    codec: str
    python: str
    machine: str
    seed: int
    versions: dict[str, str]
    measures: dict[str, str]
    """Descriptions of the metrics, by name."""
    settings: dict[str, Any]


@dataclass(frozen=True)
class Report:
    """Everything that was found.

    Attributes:
        columns: of the measures, in table order.
        rows: every measurement of every file.
        probes: by system and probe, results of :mod:`codec.eval.probes`.
        probe_marks: by system and probe, losses of the model that the probe resembles.
    """

    about: About
    clips: list[Clip]
    columns: list[Column]
    systems: list[SystemSummary]
    rows: list[Row]
    probes: dict[str, dict[str, Any]] = field(default_factory=dict)
    probe_marks: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Length of all clips by the manifest."""
        return sum(clip.seconds for clip in self.clips)
