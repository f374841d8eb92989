"""Merges of trained variants as rows of a comparison: seed by seed, without a training of their own."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from codec.compare.config import CompareConfig, MergesConfig
from codec.compare.plan import Trial
from codec.errors import CodecError
from codec.merging.config import BranchConfig, MergeConfig
from codec.merging.merge import merge_family, read_family, write_merged
from codec.merging.permute import permute_channels
from codec.model.files import load_model, save_model
from codec.train.config import TrainConfig
from codec.train.start import start_folder


@dataclass(frozen=True)
class MergeTrial(Trial):
    """One merge. Its config is that of the first part, with the steps of all of them.

    Attributes:
        parts: the runs of the variants that are merged.
        weights: lambda of each.
        settings: how they are merged.
    """

    parts: tuple[Trial, ...]
    weights: tuple[float, ...]
    settings: MergesConfig

    @property
    def step(self) -> int | None:
        """Nothing is trained."""
        return None

    @property
    def trained(self) -> bool:
        """Whether the merge is written."""
        return (self.export / "model.safetensors").is_file()

    @property
    def ready(self) -> bool:
        """Whether all parts are trained."""
        return all(part.trained for part in self.parts)

    @property
    def heads(self) -> Path | None:
        """That of the only part; heads of several are not merged."""
        return self.parts[0].heads if len(self.parts) == 1 else None

    def make(self) -> None:
        """Merge the parts, again if need be: it takes less time than to find out whether they have changed.

        Raises:
            CodecError: for parts that cannot be merged.
        """
        settings = self.settings
        branches = []
        for part, weight in zip(self.parts, self.weights, strict=True):
            path = self._permuted(part) if part.variant in settings.permuted else part.export
            branches.append(BranchConfig(str(path), weight, part.variant))
        config = MergeConfig(
            base=str(self.config.init_from),
            models=tuple(branches),
            output_dir=str(self.export),
            merge_method=settings.method,
            density=settings.density,
            seed=self.seed,
            force=bool(settings.permuted),
        )
        write_merged(merge_family(read_family(config), config, config.weights), self.export)

    def _permuted(self, part: Trial) -> Path:
        folder = self.folder / f"permuted-{part.variant}"
        save_model(permute_channels(load_model(part.export, "cpu"), self.seed), folder)
        training = part.export / "training.json"
        if training.is_file():
            shutil.copyfile(training, folder / training.name)
        return folder


def plan_merges(config: CompareConfig, runs: Sequence[Trial]) -> list[MergeTrial]:
    """All merges of a comparison, the first seeds first.

    Raises:
        CodecError: for a merge of variants that did not start from one model.
    """
    by_name = {(run.variant, run.seed): run for run in runs}
    planned = [
        MergeTrial(name, seed, _config_of(config, name, seed, parts), parts, weights, settings)
        for name, (settings, weights) in config.merge_rows.items()
        for seed in config.seeds_of(name)
        for parts in [tuple(by_name[variant, seed] for variant in settings.of)]
    ]
    return sorted(planned, key=lambda trial: config.seeds_of(trial.variant).index(trial.seed))


def make_merges(merges: Sequence[MergeTrial]) -> Iterator[MergeTrial]:
    """Make every merge whose parts are trained, and yield it."""
    for trial in merges:
        if trial.ready:
            trial.make()
            yield trial


def _config_of(config: CompareConfig, name: str, seed: int, parts: Sequence[Trial]) -> TrainConfig:
    starts = {str(start_folder(str(part.config.init_from))) for part in parts}
    if len(starts) > 1 or parts[0].config.init_from is None:
        raise CodecError(f"config merges.{name}: its variants need one init_from, found {', '.join(sorted(starts))}")
    folder = Path(config.output) / name / f"seed-{seed}"
    steps = sum(part.config.max_steps for part in parts)
    return dataclasses.replace(parts[0].config, output=str(folder), max_steps=steps)
