"""``codec finetune``: a model's decoder learns a voice, and every token keeps its meaning."""

import dataclasses
import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from codec.atomic import atomic_path
from codec.config import from_dict, merge, to_dict
from codec.console import counted, print_note
from codec.data.manifest import Clip, write_manifest
from codec.errors import CodecError
from codec.eval.clips import print_folder_notes, read_clips
from codec.eval.measures.base import MetricSettings
from codec.eval.measures.registry import build_measures, installed_measures
from codec.eval.quick import score
from codec.eval.training import Training, read_training
from codec.model.aliases import read_aliases, write_aliases
from codec.model.config import CodecConfig, load_config
from codec.model.files import find_model, load_model
from codec.settings import apply_overrides, read_settings
from codec.train.checkpoint import list_checkpoints
from codec.train.config import TrainConfig
from codec.train.losses.registry import told_losses
from codec.train.objective import check_losses
from codec.train.trainer import Trainer

MEASURES = ("pesq", "stoi", "mel")
HELD_OUT = 0.1
MOST_HELD_OUT = 20

Model = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name or folder.")]
Data = Annotated[Path, typer.Argument(metavar="FOLDER|MANIFEST", help="Recordings of the voice.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY.SUB=VALUE", help="Settings of codec train, as max_steps=2000."),
]
Out = Annotated[
    Path, typer.Option("--out", "-o", help="Folder of the run; the model is in its export folder.")
]
Config = Annotated[str, typer.Option("--config", help="A shipped config, or a YAML file.")]


def finetune(
    model: Model,
    data: Data,
    overrides: Overrides = None,
    out: Out = Path("runs/finetune"),
    config: Config = "finetune",
) -> int:
    """Train the decoder of MODEL on a voice.

    Encoder and codebooks do not change, so tokens and fingerprint stay valid. A tenth of the
    recordings is held out and decoded before and after. Run again to resume.
    """
    folder = find_model(model)
    train_clips, held_out = split(read_clips(data, data_root(config, overrides or [])))
    print_folder_notes([data])
    run = run_config(folder, train_clips, out, config, overrides or [])
    before = quality(folder, held_out)
    print_note(f"{counted(len(train_clips), 'clip')} to train on, {len(held_out)} held out")
    stopped = Trainer(run).run().signal
    if stopped is not None:
        print_note("stopped; the same command resumes")
        return 128 + signal.SIGTERM if stopped == signal.SIGTERM else 0
    export = out / "export"
    check_tokens(folder, export)
    # Files with the model's earlier fingerprints stay readable too.
    write_aliases(export, read_aliases(folder))
    training = training_of(export, run)
    report(out, before, quality(export, held_out), run, training)
    return 0


def data_root(config: str, overrides: Sequence[str]) -> str | None:
    """The setting ``data.root``: the folder that the paths of the manifest are relative to."""
    settings = read_settings(config)
    apply_overrides(settings, overrides)
    return settings.get("data", {}).get("root")


def split(clips: Sequence[Clip]) -> tuple[list[Clip], list[Clip]]:
    """Clips to train on, and every tenth, at most 20, held out.

    Raises:
        CodecError: with fewer than two clips that can be read.
    """
    usable = [clip for clip in clips if clip.seconds > 0]
    if len(usable) < 2:
        raise CodecError(f"{counted(len(usable), 'recording')} that can be read; fine-tuning needs two or more")
    count = min(MOST_HELD_OUT, max(1, int(HELD_OUT * len(usable))))
    aside = {number * len(usable) // count for number in range(count)}
    chosen = [clip for number, clip in enumerate(usable) if number in aside]
    return [clip for number, clip in enumerate(usable) if number not in aside], chosen


def run_config(
    folder: Path, clips: Sequence[Clip], out: Path, config: str, overrides: Sequence[str]
) -> TrainConfig:
    """The run's settings: the config's and the user's, on the model and the clips."""
    network = load_config(folder / "config.json")
    manifest = out / "train.jsonl"
    given: dict[str, Any] = {
        "output": str(out),
        "init_from": str(folder),
        "freeze": ["encoder", "quantizer"],
        "resume": bool(list_checkpoints(out / "checkpoints")),
        "data": {"manifests": [str(manifest)], "cache": str(out / "audio")},
    }
    settings = merge(read_settings(config), given)
    losses = settings.get("losses", {})
    if "log_spectrum" in losses and not getattr(network.network, "noise_bands", 0):
        # A decoder that draws no phases can be right in every bin.
        losses["log_spectrum"] = losses["log_spectrum"] | {"below": None}
    apply_overrides(settings, overrides)
    run = from_dict(TrainConfig, settings | {"model": CodecConfig()})
    check_losses(run.losses, network, run.teachers)
    # Settings in which something is wrong leave no folder.
    out.mkdir(parents=True, exist_ok=True)
    write_manifest(manifest, [dataclasses.replace(clip, path=str(clip.audio.resolve())) for clip in clips])
    return dataclasses.replace(run, model=network)


def quality(folder: Path, clips: Sequence[Clip]) -> dict[str, float]:
    """Mean metrics of a model over clips, those whose packages are installed."""
    return score(load_model(folder, "cpu"), clips, installed_measures(list(MEASURES)))


def check_tokens(folder: Path, export: Path) -> None:
    """Raise a :class:`CodecError` if tokens of the one model are not those of the other."""
    first, second = load_model(folder, "cpu").fingerprint, load_model(export, "cpu").fingerprint
    if first != second:
        raise CodecError(f"{export}: its tokens ({second}) are not those of {folder} ({first})")


def training_of(export: Path, run: TrainConfig) -> Training:
    """The losses of the model and of this run, or of this run only where the model does not tell its own."""
    return read_training(export) or Training(told_losses(run.losses, {}))


def report(
    out: Path, before: dict[str, float], after: dict[str, float], run: TrainConfig, training: Training
) -> None:
    """Print both sets of metrics and write them to ``finetune.json``."""
    measures = build_measures(installed_measures(list(MEASURES)), MetricSettings())
    table, worse = Table("metric", "before", "after"), []
    for measure in measures:
        marked = bool(training.like(measure.resembles))
        for column in measure.columns:
            if column.name not in after:
                continue
            name = f"{column.title}{' *' if marked else ''}"
            table.add_row(name, f"{before[column.name]:.3f}", f"{after[column.name]:.3f}")
            rose = after[column.name] > before[column.name]
            if after[column.name] != before[column.name] and column.higher_is_better is not rose:
                worse.append(column.title)
    Console().print(table)
    print_note("* resembles a loss that the model was trained with, which flatters it")
    if worse:
        print_note(
            f"worse than before on the recordings held out: {', '.join(worse)}; try fewer steps or more data"
        )
    values = {"before": before, "after": after, "settings": to_dict(run)}
    with atomic_path(out / "finetune.json") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    print_note(f"{out / 'export'}: the model, with the tokens it had")
