"""Make a manifest from an audio folder, another manifest, or a Hugging Face dataset.

Step 1 of the pipeline. Each recording is read once: its duration, speaker (from the folders or a
pattern), language, text (x.txt or x.lab next to it, LibriSpeech's .trans.txt, or the dataset's column)
and domain become one JSON line. Recordings stay whole: training cuts its own crops. Bad files are
skipped, counted and named.
"""

from collections import Counter
from pathlib import Path

from rich.console import Console

from codec.atomic import check_target
from codec.cli.recipe import run_recipe
from codec.console import counted, print_note
from codec.data import write_manifest
from codec.data.corpus import CorpusConfig, collect

SHOWN = 10


def prepare(config: CorpusConfig) -> None:
    """Collect the clips, write the manifest and print a summary."""
    output = Path(config.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    check_target(output, overwrite=True)
    corpus = collect(config)
    write_manifest(output, corpus.clips)
    config.progress.unlink(missing_ok=True)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    hours = sum(clip.seconds for clip in corpus.clips) / 3600
    texts = sum(clip.text is not None for clip in corpus.clips)
    speakers = Counter(clip.speaker for clip in corpus.clips if clip.speaker is not None)
    console.print(
        f"{output}: {counted(len(corpus.clips), 'clip')}, {hours:.2f} h, {counted(len(speakers), 'speaker')}, "
        f"{texts} with text; "
        f"{len(corpus.skipped)} skipped"
    )
    for path, reason in corpus.skipped[:SHOWN]:
        console.print(f"  {path}: {reason}", markup=False)
    if len(corpus.skipped) > SHOWN:
        console.print(f"  and {len(corpus.skipped) - SHOWN} more")
    for note in corpus.notes:
        print_note(f"note: {note}")


def main(arguments: list[str] | None = None, program: str | None = None) -> int:
    """Run ``codec prepare`` with these arguments; return the exit status."""
    return run_recipe(CorpusConfig, prepare, __doc__, arguments=arguments, program=program)
