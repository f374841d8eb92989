"""``codec eval``: measure models and baselines with the same metrics."""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli.dataclass_options import flag, options_of
from codec.errors import CodecError
from codec.eval.options import Options

if TYPE_CHECKING:
    from codec.eval.evaluation import Plan
    from codec.eval.report import Report

Source = Annotated[Path, typer.Argument(metavar="MANIFEST|FOLDER", help="JSONL manifest, or recordings.")]

_FLAGS = {
    "models": flag("--model", "-m", repeated=True),
    "encoders": flag("--encoder", repeated=True),
    "baselines": flag("--baselines", earlier="--peers"),
    "out": flag("--out", "-o"),
    "root": flag(metavar="FOLDER"),
    "selection.per_speaker": flag("--per-speaker", min=1),
    "selection.limit": flag("--limit", min=1),
    "selection.min_seconds": flag("--min-seconds", min=0.0),
    "selection.max_seconds": flag("--max-seconds", min=0.0),
    "workers": flag(min=0, show_default=False),
    "timeout": flag(metavar="SECONDS"),
    "players": flag(min=0),
    "max_delay": flag(min=0.0, max=2.0),
}
_ORDER = (
    *("models", "codebooks", "baselines", "encoders", "measures", "asr", "speaker_model", "tag_model"),
    *("probes", "probe_train", "out"),
    *("selection.per_speaker", "selection.limit", "selection.min_seconds", "selection.max_seconds"),
)


@options_of(Options, _FLAGS, _ORDER)
def evaluate(options: Options, source: Source) -> None:
    """Measure codecs over a manifest or folder of clips and compare them with baselines.

    Writes report.json, report.md, report.html and plots. Run again to resume.
    """
    from codec.eval.evaluation import prepare

    if options.codebooks is not None:
        options = dataclasses.replace(options, codebooks=sorted(set(options.codebooks)))
    options = dataclasses.replace(options, models=_models(options))
    _run(prepare(source, options, shlex.join(["codec", "eval", *_arguments()])))


def _models(options: Options) -> list[str]:
    """The default model, unless models, baselines or encoders are named."""
    others = options.baselines or options.encoders
    if not options.models and others and options.codebooks is not None:
        raise CodecError("--codebooks is of our models; name one with --model")
    return options.models or ([] if others else ["default"])


def _run(plan: "Plan") -> None:
    from codec.console import print_note
    from codec.eval.evaluation import execute
    from codec.eval.report.table import omission_lines
    from codec.progress import ProgressBar

    for note in plan.notes:
        print_note(f"note: {note}")
    with ProgressBar("clips x systems", total=None) as bar:
        evaluated = execute(plan, bar.set)
    if evaluated.report.columns or not plan.options.encoders:
        _print_table(evaluated.report)
    # Next to figures of audio, probes of models are in the report alone.
    names = plan.options.encoders if evaluated.report.columns else list(evaluated.report.probes)
    _print_probes(evaluated.report, names)
    if evaluated.reused:
        print_note(f"note: {evaluated.reused} measurements were there already")
    for line in omission_lines(evaluated.report):
        print_note(f"skipped: {line}")
    print_note(f"report: {plan.options.out / 'report.html'}")


def _print_table(report: "Report") -> None:
    """The table, in as many pieces as the terminal is narrow."""
    from rich.console import Console
    from rich.table import Table

    from codec.eval.report.table import clip_counts, coding_cells, figure_cells, heading, mark_lines

    console = Console()
    headings = ["kbps", *(heading(column) for column in report.columns)]
    lines = {
        s.label: [coding_cells(s)[0], *(cell.text for cell in cells)]
        for s, cells in zip(report.systems, figure_cells(report).values(), strict=True)
    }
    lines["clips"] = ["", *(str(count) for count in clip_counts(report).values())]
    room = console.width - max(map(len, lines)) - 4
    for piece in _pieces([max(len(title), 7) + 3 for title in headings], room):
        table = Table("system", *headings[piece])
        for column in table.columns[1:]:
            column.justify = "right"
        for label, cells in lines.items():
            table.add_row(label, *cells[piece], end_section=label == report.systems[-1].label)
        console.print(table)
    for line in mark_lines(report):
        console.print(line, markup=False, highlight=False)


def _print_probes(report: "Report", names: list[str]) -> None:
    """What probes found in these models and encoders."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for name in names:
        table = Table("probe", "codebooks", "value", "95 % CI", "no information", title=name)
        for result in report.probes[name].values():
            for found in result.measures:
                interval = "" if found.low is None else f"{found.low:.3f} to {found.high:.3f}"
                title, baseline = found.name.replace("_", " "), f"{found.baseline:.3f}"
                table.add_row(title, found.codebooks, f"{found.value:.3f}", interval, baseline)
            for note in result.notes:
                console.print(f"{name}: {note}", markup=False, highlight=False)
        console.print(table)


def _pieces(widths: list[int], room: int) -> list[slice]:
    """Neighbouring columns that fit into ``room`` characters, at least one at a time."""
    pieces, start, used = [], 0, 0
    for index, width in enumerate(widths):
        if index > start and used + width > room:
            pieces.append(slice(start, index))
            start, used = index, 0
        used += width
    return [*pieces, slice(start, len(widths))]


def _arguments() -> list[str]:
    """The arguments that the user typed after ``codec eval``."""
    typed = sys.argv[1:]
    return typed[typed.index("eval") + 1 :] if "eval" in typed else typed
