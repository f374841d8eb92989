"""``codec import``: a checkpoint of another project to a model of ours."""

from pathlib import Path
from typing import Annotated

import typer

from codec.console import counted, print_note
from codec.errors import CodecError

Source = Annotated[
    Path, typer.Argument(metavar="SRC", help="Its file of weights, or the folder with that and config.json.")
]
Target = Annotated[Path, typer.Argument(metavar="DST", help="Folder for config.json and model.safetensors.")]
Kind = Annotated[
    str | None,
    typer.Option("--kind", help="What SRC is (docs/importing.md); by default the names of its tensors decide."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a model in DST.")]


def import_(source: Source, target: Target, kind: Kind = None, overwrite: Overwrite = False) -> None:
    """Turn a checkpoint of another project into a model that every command takes.

    SpeechTokenizer, DM-Codec, EnCodec, Mimi and DAC are known. Only tensors are read: no code in SRC runs.
    """
    from codec.importing import import_checkpoint
    from codec.model.files import save_model

    if not overwrite and (target / "config.json").exists():
        raise CodecError(f"{target}: holds a model already; pass --overwrite to replace it")
    imported = import_checkpoint(source, kind)
    for note in imported.notes:
        print_note(f"note: {note}")
    model = imported.model
    save_model(model, target)
    latency = model.latency
    streams = f"streams, {round(latency.milliseconds, 1):g} ms" if latency else "needs the whole recording"
    typer.echo(
        f"{target}: {imported.kind}, {model.sample_rate} Hz, {model.config.frame_rate:g} frames/s of "
        f"{counted(model.num_codebooks, 'codebook')}, {model.bitrate() / 1000:g} kbps, {streams}"
    )
    typer.echo(f"fingerprint {model.fingerprint}")
