"""``codec decode``: token files to audio files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli.dataclass_options import flag, options_of
from codec.cli.options import FLAGS, FileOptions

if TYPE_CHECKING:
    from codec.cli.jobs import FileJob
    from codec.cli.run import Done
    from codec.model.codec import Codec

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATHS",
        help="Inputs, then optionally the output: IN... [OUT]. IN: token files, folders, globs, or - for stdin. "
        "OUT: an audio file, a folder, or - for stdout; by default NAME.decoded.wav next to IN.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class DecodeOptions(FileOptions):
    """Options of ``codec decode``."""

    codebooks: int | None = None
    """Use only the first layers of the tokens."""
    format: str | None = None
    """Sound format of outputs that OUT does not name (wav)."""
    force: bool = False
    """Decode tokens of another model anyway."""


_FLAGS = FLAGS | {"codebooks": flag("--codebooks", "-k"), "format": flag("--format", "-f")}
_ORDER = ("paths", "codebooks", "model", "device", "engine", "format", "force", "overwrite", "skip_existing")


@options_of(DecodeOptions, _FLAGS, _ORDER)
def decode(options: DecodeOptions, paths: Paths) -> None:
    """Decode tokens to speech with exactly the original number of samples."""

    from codec.audio.io import WRITTEN_SUFFIXES, check_audio_suffix
    from codec.cli.jobs import Existing, Rules, check_format, make_plan, split_paths
    from codec.cli.run import run_plan
    from codec.errors import CodecError
    from codec.model.files import load_model
    from codec.tokens.files import READ_SUFFIXES

    suffix = f".{(options.format or 'wav').lstrip('.').lower()}"
    if suffix not in WRITTEN_SUFFIXES:
        raise CodecError(f"unknown audio format {options.format!r}; choose one of {', '.join(WRITTEN_SUFFIXES)}")
    existing = Existing(options.overwrite, options.skip_existing)
    adjacent = f".decoded{suffix}"
    rules = Rules(READ_SUFFIXES, "token files", WRITTEN_SUFFIXES, suffix, adjacent, check_audio_suffix)
    sources, target = split_paths(paths, rules)
    plan = make_plan(sources, target, rules, existing)
    check_format(plan, options.format, suffix)
    loaded = load_model(options.model, options.device, options.engine)
    run_plan(plan, lambda job: decode_file(loaded, job, options, suffix), existing)


def decode_file(model: "Codec", job: "FileJob", options: DecodeOptions, suffix: str) -> "Done":
    """Decode one input; ``suffix`` is the format for standard output."""
    from codec.audio.io import write_sound
    from codec.cli.run import Done, open_input, open_output
    from codec.errors import CodecError
    from codec.tokens.files import load_tokens

    with open_output(job, options.overwrite) as output:
        tokens = load_tokens(open_input(job))
        try:
            kept = tokens if options.codebooks is None else tokens.first(options.codebooks)
            wav = model.decode(kept, options.force)[0]
        except CodecError as error:
            raise CodecError(f"{job.name}: {error}") from None
        name = str(job.target or "standard output")
        write_sound(output, wav, model.sample_rate, job.target.suffix.lower() if job.target else suffix, name)
    seconds = len(wav) / model.sample_rate
    return Done(f"{name}: {seconds:.2f} s at {model.sample_rate} Hz")
