"""``codec decode``: token files to sound files."""

from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli import options

if TYPE_CHECKING:
    from codec.cli.jobs import Job
    from codec.cli.run import Done
    from codec.model.codec import Codec

Source = Annotated[
    str, typer.Argument(metavar="IN", help="A token file, a folder, a quoted glob, or - for stdin.")
]
Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[OUT]",
        help="A sound file, a folder, or - for wav on stdout; by default NAME.decoded.wav beside IN.",
    ),
]
Codebooks = Annotated[
    int | None, typer.Option("--codebooks", "-k", help="Use only the first layers of the tokens.")
]
Format = Annotated[
    str, typer.Option("--format", "-f", help="Sound format of outputs that OUT does not name.")
]
Force = Annotated[bool, typer.Option("--force", help="Decode tokens of another model all the same.")]


def decode(
    source: Source,
    target: Target = None,
    codebooks: Codebooks = None,
    model: options.Model = "default",
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    format: Format = "wav",
    force: Force = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Turn tokens back into speech, as long as the original to the sample."""
    from pathlib import Path

    from codec.audio.io import check_sound_suffix
    from codec.cli.jobs import Rules, make_plan
    from codec.cli.run import run_plan
    from codec.model.files import load_model
    from codec.tokens.files import TOKEN_SUFFIXES

    suffix = f".{format.lstrip('.').lower()}"
    check_sound_suffix(Path("output" + suffix))
    rules = Rules(TOKEN_SUFFIXES, "token files", suffix, f".decoded{suffix}", check_sound_suffix)
    plan = make_plan(source, target, rules, overwrite)
    loaded = load_model(model, device, engine)
    run_plan(plan, lambda job: decode_file(loaded, job, codebooks, force, overwrite))


def decode_file(
    model: "Codec", job: "Job", codebooks: int | None, force: bool, overwrite: bool
) -> "Done":
    """Decode one input; standard output gets wav."""
    from codec.audio.io import save_audio
    from codec.cli.run import Done, open_input, open_output
    from codec.errors import CodecError
    from codec.tokens.files import read_clip

    with open_output(job, overwrite) as output:
        with open_input(job) as source:
            tokens = read_clip(source).to_tokens()
        try:
            wav = model.decode(tokens if codebooks is None else tokens.first(codebooks), force)[0]
        except CodecError as error:
            raise CodecError(f"{job.name}: {error}") from None
        save_audio(output, wav, model.sample_rate)
    seconds = len(wav) / model.sample_rate
    return Done(f"{job.target or 'standard output'}: {seconds:.2f} s at {model.sample_rate} Hz")
