"""``codec tokenize``: a corpus of recordings to a corpus of tokens."""

import dataclasses
from typing import Annotated

import typer

from codec.cli.dataclass_options import flag, options_of
from codec.corpora.run import TokenizeConfig
from codec.corpora.run import tokenize as run_tokenize

Source = Annotated[
    str,
    typer.Argument(
        metavar="SRC",
        help="A folder of recordings, a .jsonl manifest, tars (a.tar, 'a-{000..012}.tar', a folder of them), a "
        "Hugging Face dataset on disk or as parquet files, Lhotse cuts or a Shar folder; a path, or a URL of fsspec.",
        show_default=False,
    ),
]
Output = Annotated[
    str, typer.Argument(metavar="OUT", help="Folder of the corpus; a path, or a URL of fsspec.", show_default=False)
]

_FLAGS = {
    "model": flag("--model", "-m"),
    "codebooks": flag("--codebooks", "-k"),
    "source.source": flag("--source.source", hidden=True),
    "source.kind": flag("--kind"),
    "source.root": flag("--root", metavar="FOLDER"),
    "source.split": flag("--split"),
    "source.audio_column": flag("--audio-column"),
    "source.text_column": flag("--text-column"),
    "source.speaker_column": flag("--speaker-column"),
    "sizes.shard_clips": flag("--shard-clips"),
    "sizes.shard_hours": flag("--shard-hours"),
    "batching.batch_seconds": flag("--batch-seconds"),
    "batching.decode_threads": flag("--decode-threads"),
}


@options_of(TokenizeConfig, _FLAGS, ("source", "output"))
def tokenize(config: TokenizeConfig, source: Source, output: Output) -> None:
    """Tokenize a corpus: parquet files with a row an utterance and a column a codebook.

    A run that was stopped, however, goes on when it is started again, and gives the same files. Processes of torchrun
    and Slurm share the work: start the same command in each.
    """
    placed = dataclasses.replace(config.source, source=source)
    run_tokenize(dataclasses.replace(config, source=placed), output)
