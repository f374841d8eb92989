"""Merge models that were trained from one base: base + sum of lambda times (model - base).

codec merge CONFIG.yaml [--learn [model|layer]] [--sweep 0:1:0.1] [--force] [KEY.SUB=VALUE ...]

CONFIG is a file or a shipped config; Speech-FT's merge files are read as they are. --learn is short for
learn.per, --sweep for sweep.values, --force for force=true. output_dir gets the model and merge.json, a sweep
sweep.json and frontier.png.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from codec.cli.recipe import run_recipe
from codec.console import print_note
from codec.errors import CodecError
from codec.eval.clips import open_clips, print_folder_notes
from codec.merging.config import MergeConfig, native
from codec.merging.merge import Merged, merge_family, read_family, write_merged
from codec.merging.tokens import Agreement, token_agreement
from codec.model.codec import Codec

_VALUES = re.compile(r"[-+.\de]+([:,][-+.\de]+)+")
"""FIRST:LAST:STEP, or numbers with commas between."""


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Merge as the command line says; the exit status."""
    return run_recipe(
        MergeConfig, work, __doc__, None, expand_flags(arguments or []), program, rewrite=native
    )


def expand_flags(arguments: list[str]) -> list[str]:
    """``CONFIG``, ``--learn``, ``--sweep VALUES`` and ``--force`` as what they stand for."""
    expanded: list[str] = []
    ahead = list(arguments)
    while ahead:
        argument = ahead.pop(0)
        name, equals, value = argument.partition("=")
        if name == "--learn":
            if not equals:
                value = ahead.pop(0) if ahead and ahead[0] in ("model", "layer") else "model"
            expanded.append(f"learn.per={value}")
        elif name == "--sweep":
            if not equals:
                value = ahead.pop(0) if ahead and _VALUES.fullmatch(ahead[0]) else ""
            # Quoted: YAML reads 0:1 as a number of base 60.
            expanded.append(f"sweep.values='{value}'")
        elif argument == "--force":
            expanded.append("force=true")
        elif argument == "--config":
            expanded += [argument, *ahead[:1]]
            ahead = ahead[1:]
        elif not argument.startswith("-") and "=" not in argument:
            expanded += ["--config", argument]
        else:
            expanded.append(argument)
    return expanded


def work(config: MergeConfig) -> int:
    """Merge, measure what is asked for, and say what came out."""
    family, folder = read_family(config), Path(config.output_dir)
    if (folder / "config.json").exists() and not (folder / "merge.json").exists():
        raise CodecError(f"config output_dir: {folder} holds a model that is no merge; name another folder")
    for objection in family.forced:
        print_note(f"warning: {objection}")
    clips = open_clips(config.clips) if config.clips is not None else []
    print_folder_notes(config.clips.manifests if config.clips is not None else ())
    base = family.codec if clips else None
    sweeper = None
    if config.sweep.values:
        from codec.merging.sweep import Sweeper

        sweeper = Sweeper(family, config.sweep, clips)
    weights = config.weights
    extra: dict[str, Any] = {}
    if config.learns is not None:
        from codec.merging.learn import learn

        learned = learn(family, config.learns, weights)
        weights, extra["learned"] = learned.weights, learned.facts(config.learns)
    merged = merge_family(family, config, weights)
    if base is not None and isinstance(merged.model, Codec):
        agreement = token_agreement(base, merged.model, clips)
        _print_tokens(agreement)
        extra["tokens"] = agreement.facts()
    merged = dataclasses.replace(merged, report=dataclasses.replace(merged.report, **extra))
    write_merged(merged, folder)
    _print_models(merged)
    for model in merged.report.models:
        if model.norm == 0:
            print_note(f"note: {model.name} differs from the base in none of the merged weights (include, exclude)")
    print_note(f"{folder}: the merged model and merge.json")
    if sweeper is not None:
        _sweep(sweeper, config, folder)
    return 0


def _sweep(sweeper: Any, config: MergeConfig, folder: Path) -> None:
    from codec.merging.figure import write_frontier
    from codec.merging.sweep import mark_notes, sweep_rows, write_sweep

    sweep = sweeper.run(lambda point: print_note(f"sweep: {config.sweep.of} {point.value:g} measured"))
    write_sweep(sweep, folder)
    write_frontier(sweep, config.sweep.x, config.sweep.y, folder)
    headings, rows = sweep_rows(sweep)
    _print_table(headings, rows)
    for note in mark_notes(sweep):
        print_note(f"note: {note}")
    print_note(f"{folder}: sweep.json and frontier.png")


def _print_models(merged: Merged) -> None:
    report = merged.report
    rows = [
        [model.name, _weight(model.weight), f"{model.norm:.4g}", f"{100 * model.relative_norm:.2f} %"]
        for model in report.models
    ]
    _print_table(["model", "lambda", "length of its vector", "share of the base's"], rows)
    for pair, value in report.cosines.items():
        print(f"cosine {pair}: {'-' if value is None else f'{value:.3f}'}")


def _print_tokens(agreement: Agreement) -> None:
    print(
        f"tokens that are the base's: {agreement.first:.1%} of RVQ-1, {agreement.all:.1%} of all "
        f"({agreement.compared} frames of {agreement.clips} clips)"
    )


def _print_table(headings: list[str], rows: list[Any]) -> None:
    table = Table(*headings)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def _weight(weight: float | dict[str, float]) -> str:
    return f"{weight:g}" if not isinstance(weight, dict) else f"{len(weight)} patterns"
