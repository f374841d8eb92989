"""Students of embedding teachers at equal budget: every variant with every seed, and one table of what they retain.

Each run is that of ``codec distill``, with its report; a finished run is not repeated. ``table.md`` and
``results.json`` in the output folder are rewritten after every run.

``python recipes/compare_students.py --config compare_students``
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from codec.atomic import atomic_path
from codec.cli.distill import REPORT, distill
from codec.cli.recipe import run_recipe
from codec.compare.summary import t_interval
from codec.config import from_dict, merge, to_dict
from codec.distilling.config import EmbeddingConfig
from codec.errors import CodecError
from codec.settings import read_settings

_OURS = ("output", "seed", "resume")
"""Set for each run; a variant that set them would not be compared at equal terms."""
_KEPT = "run.json"


@dataclass(frozen=True)
class StudentsConfig:
    """A comparison of distillations."""

    base: str = "ssondo"
    """YAML of a distillation, with a probe."""
    output: str = "runs/compare_students"
    """Folder of the runs, table.md and results.json."""
    overrides: dict[str, Any] = field(default_factory=dict)
    """Differences from base in all runs."""
    variants: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Variants by name, each with its differences from base and overrides; null removes a setting."""
    seeds: tuple[int, ...] = (0,)
    variant_seeds: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Seeds of single variants, instead of those above."""

    def __post_init__(self) -> None:
        if not self.variants or not self.seeds:
            raise CodecError("config variants, seeds: name at least one of each")
        unknown = sorted(set(self.variant_seeds) - set(self.variants))
        if unknown:
            raise CodecError(f"config variant_seeds.{unknown[0]}: no such variant")
        for name, changes in {"overrides": self.overrides, **self.variants}.items():
            taken = [key for key in _OURS if key in changes]
            if taken:
                raise CodecError(f"config {name}.{taken[0]}: the comparison sets it itself, for every run")

    def seeds_of(self, variant: str) -> tuple[int, ...]:
        """Seeds that a variant is distilled with."""
        return self.variant_seeds.get(variant, self.seeds)


@dataclass(frozen=True)
class Result:
    """What a finished run's report says.

    Attributes:
        parameters: weights of the student.
        ratio: how many times as many the teacher has; ``None`` where the config does not say.
        gain: cosine with the teacher on the clips held out, less that of the best constant vector.
        effective: effective sample size of the draws, as a share of the training clips.
        accuracies: by encoder (teacher, student, untrained) and measure.
    """

    parameters: int
    ratio: float | None
    gain: float
    effective: float
    accuracies: dict[str, dict[str, float]]

    def retained(self, encoder: str = "student") -> float:
        """The mean accuracy over all measures, as a share of the teacher's (as S-SONDO averages)."""
        means = {name: np.mean(list(found.values())) for name, found in self.accuracies.items()}
        return float(means[encoder] / means["teacher"])


def compare_students(config: StudentsConfig) -> int:
    """Distil what is left, and write the table after every run.

    Raises:
        CodecError: for a variant that makes no config, before the first run.
    """
    runs = plan(config)
    found: dict[str, dict[int, Result]] = {variant: {} for variant in config.variants}
    for (variant, seed), run in runs.items():
        if _finished(run):
            found[variant][seed] = read_result(Path(run.output) / REPORT)
    write(config, found)
    for (variant, seed), run in runs.items():
        if seed in found[variant]:
            continue
        print(f"{variant}, seed {seed}", flush=True)
        if code := distill(run):
            return code
        _keep(run)
        found[variant][seed] = read_result(Path(run.output) / REPORT)
        write(config, found)
    return 0


def plan(config: StudentsConfig) -> dict[tuple[str, int], EmbeddingConfig]:
    """Settings of every run by variant and seed, the first seeds of all variants before the second ones."""
    shared = merge(read_settings(config.base), config.overrides, "overrides")
    rounds = max(len(config.seeds_of(variant)) for variant in config.variants)
    runs = {}
    for number in range(rounds):
        for variant, changes in config.variants.items():
            for seed in config.seeds_of(variant)[number : number + 1]:
                ours = {"output": str(Path(config.output) / variant / f"seed-{seed}"), "seed": seed, "resume": True}
                values = merge(shared, changes, f"variants.{variant}") | ours
                try:
                    runs[variant, seed] = from_dict(EmbeddingConfig, values)
                except CodecError as error:
                    raise CodecError(f"variant {variant}: {error}") from None
                if runs[variant, seed].probe is None:
                    raise CodecError(f"variant {variant}: set probe, which is what is compared")
    return runs


def _finished(run: EmbeddingConfig) -> bool:
    folder = Path(run.output)
    kept = folder / _KEPT
    if not (folder / REPORT).is_file() or not kept.is_file():
        return False
    if json.loads(kept.read_text(encoding="utf-8")) != _settings(run):
        raise CodecError(f"{folder}: was made with other settings; set them back, or name another output")
    return True


def _keep(run: EmbeddingConfig) -> None:
    with atomic_path(Path(run.output) / _KEPT) as temporary:
        temporary.write_text(json.dumps(_settings(run)) + "\n", encoding="utf-8")


def _settings(run: EmbeddingConfig) -> dict[str, Any]:
    """What a result depends on, as JSON gives it back."""
    return json.loads(json.dumps({key: value for key, value in to_dict(run).items() if key != "threads"}))


def read_result(path: Path) -> Result:
    """The result of a run from its ``report.json``."""
    report = json.loads(path.read_text(encoding="utf-8"))
    probes = report["probes"]
    return Result(
        parameters=report["student"]["parameters"],
        ratio=report["student"].get("ratio"),
        gain=report["held_out"]["gain"],
        effective=report["clips"]["effective"] / report["clips"]["training"],
        accuracies={name: {one["name"]: one["value"] for one in probe["measures"]} for name, probe in probes.items()},
    )


def write(config: StudentsConfig, found: Mapping[str, Mapping[int, Result]]) -> None:
    """``table.md`` and ``results.json`` of what is finished."""
    out = Path(config.output)
    out.mkdir(parents=True, exist_ok=True)
    plain = {variant: {seed: vars(result) for seed, result in seeds.items()} for variant, seeds in found.items()}
    content = json.dumps({"config": to_dict(config), "variants": plain}, indent=1)
    for name, text in (("table.md", table(found)), ("results.json", content)):
        with atomic_path(out / name) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")


def table(found: Mapping[str, Mapping[int, Result]]) -> str:
    """Markdown: a row for each variant; means over seeds, ± half the 95 % interval (Student's t) of two or more."""
    done = {variant: list(results.values()) for variant, results in found.items() if results}
    if not done:
        return "No run is finished."
    names = list(next(iter(done.values()))[0].accuracies["student"])
    titles = ["student", "weights", "times smaller", "seeds", "gain", "effective clips %", "retained %"]
    titles += ["untrained retains %", *(f"{name.replace('_', ' ')} % (teacher)" for name in names)]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for variant, results in done.items():
        one = results[0]
        cells = [variant, f"{one.parameters:,}", "" if one.ratio is None else f"{one.ratio:.1f}", str(len(results))]
        cells += [estimate([result.gain for result in results], 1, 3)]
        cells += [estimate([result.effective for result in results])]
        cells += [estimate([result.retained() for result in results])]
        cells += [estimate([result.retained("untrained") for result in results])]
        for name in names:
            teacher = np.mean([result.accuracies["teacher"][name] for result in results])
            cells += [estimate([result.accuracies["student"][name] for result in results]) + f" ({100 * teacher:.1f})"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def estimate(values: list[float], scale: float = 100.0, digits: int = 1) -> str:
    """Mean of the seeds, with half the interval where there are two or more."""
    mean = f"{scale * np.mean(values):.{digits}f}"
    if len(values) < 2:
        return mean
    low, high = t_interval(values)
    return f"{mean} ± {scale * (high - low) / 2:.{digits}f}"


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run the comparison as the command line says; the exit status."""
    return run_recipe(StudentsConfig, compare_students, __doc__ or "", None, arguments, program)


if __name__ == "__main__":
    sys.exit(main())
