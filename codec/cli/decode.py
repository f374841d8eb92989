"""``codec decode``: token files to audio files."""

from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli import options

if TYPE_CHECKING:
    from codec.cli.jobs import FileJob
    from codec.cli.run import Done
    from codec.model.codec import Codec

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATHS",
        help="Inputs, then optionally the output: IN... [OUT]. IN: token files, folders, globs, or - for stdin. "
        "OUT: an audio file, a folder, or - for wav on stdout; by default NAME.decoded.wav next to IN.",
        show_default=False,
    ),
]
Codebooks = Annotated[
    int | None, typer.Option("--codebooks", "-k", help="Use only the first layers of the tokens.")
]
Format = Annotated[
    str, typer.Option("--format", "-f", help="Audio format of outputs that OUT does not name.")
]
Force = Annotated[bool, typer.Option("--force", help="Decode tokens of another model anyway.")]


def decode(
    paths: Paths,
    codebooks: Codebooks = None,
    model: options.Model = "default",
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    format: Format = "wav",
    force: Force = False,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
) -> None:
    """Decode tokens to speech with exactly the original number of samples."""
    from pathlib import Path

    from codec.audio.io import WRITTEN_SUFFIXES, check_audio_suffix
    from codec.cli.jobs import Existing, Rules, make_plan, split_paths
    from codec.cli.run import run_plan
    from codec.model.files import load_model
    from codec.tokens.files import READ_SUFFIXES

    suffix = f".{format.lstrip('.').lower()}"
    check_audio_suffix(Path("output" + suffix))
    existing = Existing(overwrite, skip_existing)
    adjacent = f".decoded{suffix}"
    rules = Rules(READ_SUFFIXES, "token files", WRITTEN_SUFFIXES, suffix, adjacent, check_audio_suffix)
    sources, target = split_paths(paths, rules)
    plan = make_plan(sources, target, rules, existing)
    loaded = load_model(model, device, engine)
    run_plan(plan, lambda job: decode_file(loaded, job, codebooks, force, overwrite), existing)


def decode_file(
    model: "Codec", job: "FileJob", codebooks: int | None, force: bool, overwrite: bool
) -> "Done":
    """Decode one input; standard output gets wav."""
    from codec.audio.io import write_sound
    from codec.cli.run import Done, open_input, open_output
    from codec.errors import CodecError
    from codec.tokens.files import read_clip

    with open_output(job, overwrite) as output:
        tokens = read_clip(open_input(job)).to_tokens()
        try:
            wav = model.decode(tokens if codebooks is None else tokens.first(codebooks), force)[0]
        except CodecError as error:
            raise CodecError(f"{job.name}: {error}") from None
        name = str(job.target or "standard output")
        write_sound(output, wav, model.sample_rate, job.target.suffix.lower() if job.target else ".wav", name)
    seconds = len(wav) / model.sample_rate
    return Done(f"{name}: {seconds:.2f} s at {model.sample_rate} Hz")
