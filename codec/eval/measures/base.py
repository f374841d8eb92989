"""The interface of a metric."""

import hashlib
import importlib.metadata
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codec.eval.types import Pair


@dataclass(frozen=True)
class Column:
    """One figure of a table."""

    name: str
    title: str
    higher_is_better: bool | None
    digits: int = 2
    scale: float = 1.0
    """Factor from the stored value to the printed one."""


@dataclass(frozen=True)
class MetricSettings:
    """Options of the metrics that have any."""

    asr: str | None = None
    """faster-whisper model folder, or a transformers model id or folder, for WER."""
    speaker_model: str | None = None
    """transformers x-vector model id or folder, for the measure ``xvector``."""
    tag_model: str | None = None
    """Folder of musicnn, for the measure ``tags``."""


class Measure:
    """A metric. It is light and picklable: models are loaded on first use, once in each process."""

    name: str
    packages: tuple[str, ...] = ()
    """Distributions of the package index that it needs."""
    install: str = "pip install 'codec[eval]'"
    """The command that installs them."""
    intrusive: bool = True
    """Whether it compares with the reference, and so cannot score against a silent one."""

    if TYPE_CHECKING:
        # Attributes of most measures, properties of others: all that is said here is that they can be read.
        @property
        def columns(self) -> tuple[Column, ...]: ...

        @property
        def resembles(self) -> tuple[str, ...]:
            """Losses, or their teachers, that a model must not be trained with to be scored without a mark."""

    else:
        resembles = ()

    @classmethod
    def from_settings(cls, settings: MetricSettings) -> "Measure":
        """Build it, checking its own settings.

        Raises:
            CodecError: when a setting that it needs is missing.
        """
        return cls()

    def __call__(self, pair: Pair) -> dict[str, float]:
        """Values by name, at least one for every column.

        Raises:
            Skip: when this clip cannot be scored.
        """
        raise NotImplementedError

    def notes(self, pair: Pair) -> dict[str, str]:
        """Text to keep with the values, requested after ``__call__`` on the same pair."""
        return {}

    def versions(self) -> dict[str, str]:
        """Installed version of each package it stands on."""
        return {package: importlib.metadata.version(package) for package in self.packages}

    def signature(self) -> str:
        """All that its values depend on but the audio."""
        return f"{self.name} {self.versions()}"

    def describe(self) -> str:
        """One line for the report: how the figure is computed."""
        return (self.__doc__ or "").strip().splitlines()[0]

    def pool(self, column: str, values: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """The figure of a set of clips: their mean.

        Args:
            column: which column.
            values: by value name, ``(N,)`` over clips.
            weights: ``(B, N)``, how often each clip counts in each of B draws.

        Returns:
            ``(B,)``
        """
        return weights @ values[column] / weights.sum(axis=1)

    @classmethod
    def missing_packages(cls) -> list[str]:
        """Packages that are not installed."""
        return [package for package in cls.packages if not _installed(package)]


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def digest(text: str) -> str:
    """16 hex digits that name ``text``."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
