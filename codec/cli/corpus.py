"""``codec corpus``: what a corpus of tokens holds, and its export for trainers."""

import json
from typing import Annotated

import typer

from codec.cli.dataclass_options import flag, options_of
from codec.cli.extras import HELP_OPTIONS
from codec.console import counted, print_note
from codec.corpora.exports import ExportConfig, export_corpus
from codec.corpora.plan import read_plan
from codec.corpora.remote import folder_at, local_folder
from codec.corpora.shard import find_reports

Corpus = Annotated[str, typer.Argument(metavar="CORPUS", help="What codec tokenize made.", show_default=False)]
Output = Annotated[str, typer.Argument(metavar="OUT", help="Empty folder.", show_default=False)]

app = typer.Typer(
    help="Look into a corpus of tokens, or write it in the forms that trainers read.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings=HELP_OPTIONS,
)


@app.command("info")
def info(corpus: Corpus) -> None:
    """Print what a corpus holds, and how much of it is done."""
    folder = folder_at(corpus)
    plan = read_plan(folder)
    reports = find_reports(folder, plan, range(len(plan.shards)))
    done = [report for report in reports.values() if report is not None]
    values = {
        "source": plan.source.source,
        "fingerprint": plan.facts.fingerprint,
        "codebook_sizes": list(plan.facts.codebook_sizes),
        "frame_rate": plan.facts.sample_rate / plan.facts.hop_length,
        "utterances": plan.utterances,
        "shards": len(reports),
        "shards_done": len(done),
        "hours_done": round(sum(report.seconds for report in done) / 3600, 4),
        "bad_utterances": sum(report.bad for report in done),
        "bytes": sum(report.bytes for report in done),
    }
    typer.echo(json.dumps(values, indent=2))


_FLAGS = {"codebooks": flag("--codebooks", "-k"), "format": flag("--format", "-f")}


@app.command("export")
@options_of(ExportConfig, _FLAGS, ("corpus", "output"))
def export(config: ExportConfig, corpus: Corpus, output: Output) -> None:
    """Write a corpus as ids for language models, or its codes for other readers."""
    count = export_corpus(config, folder_at(corpus), local_folder(output, "exports go"))
    print_note(f"{output}: {counted(count, 'utterance')}")
