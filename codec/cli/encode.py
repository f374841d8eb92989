"""``codec encode``: audio files to token files."""

from typing import TYPE_CHECKING, Annotated

import typer

from codec.cli import options
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
Codebooks = Annotated[
    int | None, typer.Option("--codebooks", "-k", help="Codebook layers to keep, 1 to all.")
]
Format = Annotated[
    str | None, typer.Option("--format", "-f", help="pt or rvq, where OUT has no suffix (pt).")
]


def encode(
    paths: Paths,
    codebooks: Codebooks = None,
    model: options.Model = "default",
    device: options.Device = "auto",
    engine: options.Engine = "auto",
    format: Format = None,
    overwrite: options.Overwrite = False,
    skip_existing: options.SkipExisting = False,
) -> None:
    """Encode speech to tokens.

    Audio of any rate and number of channels is resampled and mixed down. A folder keeps its tree;
    unreadable files are listed at the end, and the exit status is then 1.
    """
    from codec.audio.io import AUDIO_SUFFIXES
    from codec.cli.jobs import Existing, Rules, make_plan, split_paths
    from codec.cli.run import run_plan
    from codec.model.files import load_model
    from codec.tokens.files import TOKEN_SUFFIXES, check_token_suffix

    suffix = _format_suffix(format)
    existing = Existing(overwrite, skip_existing)
    rules = Rules(AUDIO_SUFFIXES, "audio files", TOKEN_SUFFIXES, suffix, suffix, check_token_suffix)
    sources, target = split_paths(paths, rules)
    plan = make_plan(sources, target, rules, existing)
    named = plan.jobs[0].target
    if format and named and named.suffix.lower() != suffix:
        raise CodecError(f"{named}: --format {format} does not fit this suffix; drop one of them")
    loaded = load_model(model, device, engine)
    loaded.quantizer.check_count(codebooks)
    run_plan(plan, lambda job: encode_file(loaded, job, codebooks, suffix, overwrite), existing)


def encode_file(
    model: "Codec", job: "FileJob", codebooks: int | None, suffix: str, overwrite: bool
) -> "Done":
    """Encode one input; ``suffix`` is the format for standard output."""
    from codec.audio.io import load_audio
    from codec.cli.run import Done, open_input, open_output
    from codec.tokens.files import clip_of, write_clip

    with open_output(job, overwrite) as output:
        audio = load_audio(open_input(job), model.sample_rate)
        try:
            clip = clip_of(model.encode(audio, num_codebooks=codebooks), model)
        except CodecError as error:
            raise CodecError(f"{job.name}: {error}") from None
        write_clip(output, clip, job.target.suffix.lower() if job.target else suffix)
    summary = (
        f"{job.target or 'standard output'}: {clip.seconds:.2f} s, {clip.num_frames} frames x "
        f"{clip.num_codebooks} codebooks, {clip.bitrate / 1000:g} kbps"
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
