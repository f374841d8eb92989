"""The runs of a comparison, and all that can be wrong with them, found before the first starts."""

import dataclasses
import json
from collections.abc import Iterable
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from codec.compare.config import CompareConfig
from codec.config import from_dict, merge, to_dict
from codec.errors import CodecError
from codec.settings import read_settings
from codec.train.build import build_run
from codec.train.checkpoint import check_same_run, list_checkpoints
from codec.train.config import TrainConfig
from codec.train.tasks.base import is_trained, make_accelerator, output_folders
from codec.train.tasks.codec import CodecTask


@dataclass(frozen=True)
class Trial:
    """One training of one variant."""

    variant: str
    seed: int
    config: TrainConfig

    @property
    def name(self) -> str:
        """Name of the run in messages."""
        return f"{self.variant}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Folder of checkpoints, export and scores."""
        return Path(self.config.output)

    @property
    def export(self) -> Path:
        """Folder of the finished model."""
        return output_folders(self.config)[1]

    @property
    def heads(self) -> Path | None:
        """File of what the run's losses learned."""
        return self.export.with_name("translators.safetensors")

    @property
    def step(self) -> int | None:
        """Steps of the newest checkpoint; ``None`` before the first."""
        found = list_checkpoints(output_folders(self.config)[0])
        return int(found[-1].name.removeprefix("step-")) if found else None

    @property
    def trained(self) -> bool:
        """Whether training is complete."""
        return is_trained(self.config)


def plan_runs(config: CompareConfig) -> list[Trial]:
    """All runs, the first seeds of all variants before the second ones.

    Raises:
        CodecError: for a variant that makes no training config.
    """
    shared = merge(read_settings(config.base), config.overrides, "overrides")
    rounds = max(len(config.seeds_of(variant)) for variant in config.variants)
    runs = []
    for number in range(rounds):
        for variant, changes in config.variants.items():
            seeds = config.seeds_of(variant)[number : number + 1]
            runs += [
                _run(config, variant, seed, merge(shared, changes, f"variants.{variant}")) for seed in seeds
            ]
    return runs


def _run(config: CompareConfig, variant: str, seed: int, values: dict[str, Any]) -> Trial:
    folder = Path(config.output) / variant / f"seed-{seed}"
    ours = {"output": str(folder), "seed": seed, "threads": config.threads, "resume": True}
    try:
        train = from_dict(TrainConfig, {**values, **ours})
    except CodecError as error:
        raise CodecError(f"variant {variant}: {error}") from None
    return Trial(
        variant, seed, dataclasses.replace(train, quantizer=dataclasses.replace(train.quantizer, seed=seed))
    )


def check_runs(runs: Iterable[Trial]) -> None:
    """Data, features, losses and networks of every variant, and the runs that have begun.

    Raises:
        CodecError: naming the variant, for whatever would stop one of its runs.
    """
    built: set[str] = set()
    for run in runs:
        _check_begun(run)
        if run.trained or run.variant in built:
            continue
        # Report bad clips and progress only once.
        quiet = redirect_stderr(StringIO()) if built else nullcontext()
        built.add(run.variant)
        try:
            with quiet:
                build_run(run.config, make_accelerator(run.config))
        except CodecError as error:
            raise CodecError(f"variant {run.variant}: {error}") from None


def _check_begun(run: Trial) -> None:
    """A run resumes only with the settings and the number of steps with which it began."""
    found = list_checkpoints(output_folders(run.config)[0])
    if not found:
        return
    try:
        saved = json.loads((found[-1] / "meta.json").read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError) as error:
        raise CodecError(f"{found[-1]}: cannot be read ({error}); delete {run.folder}") from None
    before = from_dict(TrainConfig, saved)
    check_same_run(to_dict(before), to_dict(run.config), str(run.folder), CodecTask.free_settings)
    if before.max_steps != run.config.max_steps:
        raise CodecError(
            f"{run.folder} is of a run of {before.max_steps} steps, and max_steps is now "
            f"{run.config.max_steps}; set it back, or name another output"
        )
