"""``codec eval``: measure models and peers by the same judges."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from codec.eval.evaluation import Plan
    from codec.eval.report import Report

Source = Annotated[Path, typer.Argument(metavar="MANIFEST|FOLDER", help="JSONL manifest, or recordings.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model", "-m", help="A model's name or folder; may be repeated. Without peers: default."
    ),
]
Codebooks = Annotated[str | None, typer.Option(help="Numbers of codebooks, as 1,2,4,8; all by default.")]
Peers = Annotated[
    str,
    typer.Option(
        help="opus:KBPS, speex:KBPS, codec2:MODE, hf:ID@KBPS, dir:NAME@KBPS=FOLDER, engine:MODEL=ENGINE; "
        "commas between them."
    ),
]
Measures = Annotated[
    str | None, typer.Option(help="Names with commas; all that are installed by default, WER with --asr.")
]
Asr = Annotated[
    str | None, typer.Option(help="faster-whisper folder, or a transformers id or folder, for WER.")
]
SpeakerModel = Annotated[
    str | None, typer.Option(help="transformers x-vector model, for the measure xvector.")
]
Probes = Annotated[str, typer.Option(help="What the tokens mean: phone,text,speaker,fewshot.")]
TrainClips = Annotated[
    Path | None, typer.Option("--probe-train", help="Manifest that probes are trained on.")
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the report; a run there is resumed.")]
PerSpeaker = Annotated[int | None, typer.Option(min=1, help="The first so many clips of each speaker.")]
Limit = Annotated[int | None, typer.Option(min=1, help="The first so many clips.")]
MinSeconds = Annotated[float, typer.Option(min=0.0, help="Leave shorter clips out.")]
MaxSeconds = Annotated[float, typer.Option(min=0.0, help="Leave longer clips out.")]
Workers = Annotated[int | None, typer.Option(min=0, help="Processes; as many as cores by default.")]
Players = Annotated[int, typer.Option(min=0, help="Clips to listen to in the page.")]
MaxDelay = Annotated[float, typer.Option(min=0.0, max=2.0, help="Seconds within which to look for delay.")]
Align = Annotated[
    Literal["waveform", "envelope"],
    typer.Option(help="Where waveforms hardly match: keep their best delay, or match envelopes."),
]
Seed = Annotated[int, typer.Option(help="Of bootstrap and probes.")]
Device = Annotated[str, typer.Option(help="Of our models: auto, cpu, cuda or mps.")]


def evaluate(
    source: Source,
    model: Models = None,
    codebooks: Codebooks = None,
    peers: Peers = "",
    measures: Measures = None,
    asr: Asr = None,
    speaker_model: SpeakerModel = None,
    probes: Probes = "",
    probe_train: TrainClips = None,
    out: Out = Path("report"),
    per_speaker: PerSpeaker = None,
    limit: Limit = None,
    min_seconds: MinSeconds = 0.0,
    max_seconds: MaxSeconds = float("inf"),
    workers: Workers = None,
    players: Players = 3,
    max_delay: MaxDelay = 0.25,
    align: Align = "waveform",
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Measure codecs over a manifest or folder of clips, side by side with peers.

    Writes report.json, report.md, report.html and plots. Run again to resume.
    """
    from codec.eval.clips import Selection
    from codec.eval.evaluation import Options, prepare

    options = Options(
        models=_models(model, peers, codebooks),
        codebooks=_numbers(codebooks),
        peers=_names(peers),
        measures=_names(measures) if measures is not None else None,
        asr=asr,
        speaker_model=speaker_model,
        probes=_names(probes),
        probe_train=probe_train,
        out=out,
        selection=Selection(min_seconds, max_seconds, per_speaker, limit),
        workers=workers if workers is not None else os.cpu_count() or 1,
        players=players,
        max_delay=max_delay,
        align=align,
        seed=seed,
        device=device,
    )
    _run(prepare(source, options, shlex.join(["codec", "eval", *_arguments()])))


def _models(models: list[str] | None, peers: str, codebooks: str | None) -> list[str]:
    """The default model, unless models or peers are named."""
    from codec.errors import CodecError

    if not models and peers and codebooks is not None:
        raise CodecError("--codebooks is of our models; name one with --model")
    return models or ([] if peers else ["default"])


def _run(plan: "Plan") -> None:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from codec.cli.console import print_note, progress_console
    from codec.eval.evaluation import execute
    from codec.eval.report.table import omission_lines

    for note in plan.notes:
        print_note(f"note: {note}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=progress_console()) as progress:
        task = progress.add_task("clips x systems", total=None)
        evaluated = execute(plan, lambda done, total: progress.update(task, completed=done, total=total))
    _print_table(evaluated.report)
    if evaluated.reused:
        print_note(f"note: {evaluated.reused} measurements were there already")
    for line in omission_lines(evaluated.report):
        print_note(f"left out: {line}")
    print_note(f"report: {plan.options.out / 'report.html'}")


def _print_table(report: "Report") -> None:
    """The table, in as many pieces as the terminal is narrow."""
    from rich.console import Console
    from rich.table import Table

    from codec.eval.report.table import clip_counts, coding_cells, figure_cells, heading

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


def _pieces(widths: list[int], room: int) -> list[slice]:
    """Neighbouring columns that fit into ``room`` characters, at least one at a time."""
    pieces, start, used = [], 0, 0
    for index, width in enumerate(widths):
        if index > start and used + width > room:
            pieces.append(slice(start, index))
            start, used = index, 0
        used += width
    return [*pieces, slice(start, len(widths))]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return sorted({int(name) for name in _names(text)})
    except ValueError:
        raise typer.BadParameter(f"--codebooks {text}: expected numbers with commas, as 1,2,4,8") from None


def _arguments() -> list[str]:
    """What the user typed after ``codec eval``."""
    typed = sys.argv[1:]
    return typed[typed.index("eval") + 1 :] if "eval" in typed else typed
