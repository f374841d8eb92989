"""``merge.json``: what was merged, how far each model had gone, and whether they agree."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from codec.atomic import atomic_path
from codec.merging.checks import Source
from codec.merging.vectors import State, cosine, difference, norm

FILE = "merge.json"


@dataclass(frozen=True)
class BranchReport:
    """A branch in ``merge.json``."""

    name: str
    path: str
    weight: float | dict[str, float]
    """Lambda, or lambdas by pattern."""
    hashes: dict[str, str | None]
    base: dict[str, str | None] | None
    """The hashes that it names as its base's."""
    norm: float
    """Length of its task vector."""
    relative_norm: float
    """The same as a share of the length of the base's merged weights."""


@dataclass(frozen=True)
class Report:
    """Content of ``merge.json``."""

    merge_method: str
    alpha: float | None
    density: float
    seed: int | None
    base: dict[str, Any]
    """Path and hashes."""
    models: list[BranchReport]
    cosines: dict[str, float | None]
    """Of the angles between task vectors, ``speech ~ music``."""
    merged: dict[str, Any]
    """Hashes of the result, and the length of its own task vector."""
    tensors: dict[str, int]
    """How many were merged, how many are the base's, and the entries of the merged ones."""
    forced: list[str]
    """Objections that ``--force`` overruled."""
    learned: dict[str, Any] | None = None
    """How lambdas were learned."""
    tokens: dict[str, Any] | None = None
    """How many tokens of given recordings are the base's."""


def describe(
    base: Source,
    branches: Sequence[Source],
    start: State,
    merged: Mapping[str, Tensor],
    weights: Sequence[float | dict[str, float]],
    hashes: dict[str, str | None],
) -> dict[str, Any]:
    """The fields of a :class:`Report` that follow from the tensors.

    Args:
        start: the base's tensors that were merged.
        merged: what became of them.
        hashes: of the result.
    """
    length = norm(start)
    vectors = {source.name: difference(source.state, start) for source in branches}
    models = []
    for source, weight in zip(branches, weights, strict=True):
        size = norm(vectors[source.name])
        share = size / length if length else 0.0
        models.append(BranchReport(source.name, source.path, weight, source.hashes, source.base, size, share))
    return {
        "base": {"path": base.path, "hashes": base.hashes},
        "models": models,
        "cosines": {
            f"{first} ~ {second}": cosine(vectors[first], vectors[second])
            for first, second in itertools.combinations(vectors, 2)
        },
        "merged": {"hashes": hashes, "norm": norm(difference(merged, start))},
        "tensors": {
            "merged": len(start),
            "kept": len(base.state) - len(start),
            "entries": sum(tensor.numel() for tensor in start.values()),
        },
    }


def write_report(report: Report, folder: Path) -> None:
    """Write ``merge.json``."""
    with atomic_path(folder / FILE) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(report), indent=2) + "\n", encoding="utf-8")
