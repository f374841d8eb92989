"""``codec encode``: audio files to token files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli.dataclass_options import flag, options_of
from codec.cli.options import FLAGS, FileOptions
from codec.console import counted
from codec.errors import CodecError

if TYPE_CHECKING:
    from codec.audio.io import Audio
    from codec.cli.jobs import FileJob
    from codec.cli.run import Done
    from codec.model.codec import Codec

Paths = Annotated[
    list[str],
    typer.Argument(
        metavar="PATHS",
        help="Inputs, then optionally the output: IN... [OUT]. IN: audio files, folders, globs, or - for stdin. "
        "OUT: a .pt or .rvq file, a folder, or - for stdout; next to IN by default.",
        show_default=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class EncodeOptions(FileOptions):
    """Options of ``codec encode``."""

    codebooks: int | None = None
    """Codebook layers to keep, 1 to all."""
    format: str | None = None
    """pt or rvq, where OUT does not say it (pt)."""


_FLAGS = FLAGS | {"codebooks": flag("--codebooks", "-k"), "format": flag("--format", "-f")}
_ORDER = ("paths", "codebooks", "model", "device", "engine", "format", "overwrite", "skip_existing")


@options_of(EncodeOptions, _FLAGS, _ORDER)
def encode(options: EncodeOptions, paths: Paths) -> None:
    """Turn speech into tokens.

    Audio of any rate and number of channels is resampled and mixed down.
    A folder keeps its tree. Files that cannot be read are listed at the end,
    and the exit status is then 1.
    """
    from codec.audio.io import AUDIO_SUFFIXES
    from codec.cli.jobs import Existing, Rules, check_format, make_plan, split_paths
    from codec.cli.run import run_plan
    from codec.model.files import load_model
    from codec.tokens.files import TOKEN_SUFFIXES, check_token_suffix

    suffix = _format_suffix(options.format)
    existing = Existing(options.overwrite, options.skip_existing)
    rules = Rules(AUDIO_SUFFIXES, "audio files", TOKEN_SUFFIXES, suffix, suffix, check_token_suffix)
    sources, target = split_paths(paths, rules)
    plan = make_plan(sources, target, rules, existing)
    check_format(plan, options.format, suffix)
    loaded = load_model(options.model, options.device, options.engine)
    loaded.quantizer.check_count(options.codebooks)
    run_plan(
        plan, lambda job: encode_file(loaded, job, options.codebooks, suffix, options.overwrite), existing
    )


def encode_file(
    model: "Codec", job: "FileJob", codebooks: int | None, suffix: str, overwrite: bool
) -> "Done":
    """Encode one input; ``suffix`` is the format for standard output."""
    from codec.audio.io import load_audio
    from codec.cli.run import Done, open_input, open_output
    from codec.tokens.files import write_tokens

    with open_output(job, overwrite) as output:
        audio = load_audio(open_input(job), model.sample_rate)
        try:
            tokens = model.encode(audio, num_codebooks=codebooks)
        except CodecError as error:
            raise CodecError(f"{job.name}: {error}") from None
        write_tokens(output, tokens, job.target.suffix.lower() if job.target else suffix)
    summary = (
        f"{job.target or 'standard output'}: {len(audio.wav) / model.sample_rate:.2f} s, "
        f"{counted(tokens.codes.shape[2], 'frame')} x {counted(tokens.num_codebooks, 'codebook')}, "
        f"{tokens.bitrate / 1000:g} kbps"
    )
    warnings = tuple(f"{job.name}: {words}" for words in audio.notes)
    return Done(summary, _conversion_note(audio, job.name), warnings)


def _conversion_note(audio: "Audio", name: str) -> str | None:
    """A note on the conversion to the model's format, or ``None``."""
    steps = []
    if audio.source_channels != 1:
        steps.append(f"{audio.source_channels} channels mixed down to 1")
    if audio.source_rate != audio.sample_rate:
        steps.append(f"{audio.source_rate} Hz resampled to {audio.sample_rate} Hz")
    if audio.source_rate < audio.sample_rate:
        steps.append(f"nothing above {audio.source_rate // 2} Hz is in the recording")
    return f"{name}: {', '.join(steps)}" if steps else None


def _format_suffix(format: str | None) -> str:
    if format not in (None, "pt", "rvq"):
        raise CodecError(f"unknown token format {format!r}; choose pt or rvq")
    return f".{format or 'pt'}"
