"""``codec info``: what a model or a token file is."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from codec.cli.jobs import STREAM
from codec.cli.pipes import standard_input
from codec.console import counted, printable
from codec.reading import open_seekable, path_of

if TYPE_CHECKING:
    from torch import nn

    from codec.model.codec import Codec
    from codec.tokens.tokens import Tokens

Subject = Annotated[
    str, typer.Argument(metavar="[FILE|MODEL]", help="A token file, or - for stdin; a model's folder, name or hub id.")
]


def info(subject: Subject = "default") -> None:
    """Describe a model (the default one if none is named) or a token file."""
    from codec.model.files import find_model, load_model
    from codec.tokens.files import READ_SUFFIXES

    if subject == STREAM:
        _print_file(standard_input())
        return
    path = Path(path_of(subject, "a token file or a model"))
    # Files, and pipes as those of <(...): whatever is there and no folder.
    if (os.path.exists(path) and not path.is_dir()) or path.suffix.lower() in READ_SUFFIXES:
        _print_file(path)
    else:
        _print_model(find_model(subject), load_model(subject, "cpu"))


def _print_file(source: Path | BinaryIO) -> None:
    from codec.tokens.files import load_tokens

    with open_seekable(source, "tokens") as (file, name):
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        _print_tokens(name, load_tokens(file), size)


def _print_model(folder: Path, model: "Codec") -> None:
    from codec.hub.card import license_of

    config = model.config
    sizes = {name: _count(part) for name, part in model.named_children()}
    latency = model.latency
    facts = {
        "model": str(folder),
        "architecture": config.architecture,
        "parameters": f"{_millions(sum(sizes.values()))} ("
        + ", ".join(f"{name} {_millions(size)}" for name, size in sizes.items())
        + ")",
        "sample rate": f"{model.sample_rate} Hz, mono",
        "frames": f"{config.frame_rate:g} per second, {model.hop_length} samples each",
        "codebooks": _codebooks(model),
        "latency": f"{round(latency.milliseconds, 1):g} ms ({latency.samples} samples)"
        if latency
        else "not causal: needs the whole signal",
        "fingerprint": model.fingerprint,
        "licence": license_of(folder) or "not stated",
    }
    _print_facts(facts)
    _print_rates(model)


def _bits(tokens: "Tokens") -> str:
    from codec.quantizers.base import bits_per_code

    bits = sorted({bits_per_code(size) for size in tokens.codebook_sizes})
    return str(bits[0]) if len(bits) == 1 else f"{bits[0]} to {bits[-1]}"


def _codebooks(model: "Codec") -> str:
    sizes = model.quantizer.sizes
    entries = str(sizes[0]) if len(set(sizes)) == 1 else ", ".join(map(str, sizes))
    return f"{len(sizes)} of {entries} entries, {model.config.network.latent_dim} dimensions"


def _print_rates(model: "Codec") -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("codebooks", "tokens/s", "kbps")
    for column in table.columns:
        column.justify = "right"
    for count in range(1, model.num_codebooks + 1):
        tokens = count * model.config.frame_rate
        table.add_row(str(count), f"{tokens:g}", f"{model.bitrate(count) / 1000:g}")
    Console().print(table)


def _print_tokens(name: str, tokens: "Tokens", size: int) -> None:
    """One clip's, from a file of ``size`` bytes."""
    samples, frames = int(tokens.num_samples), int(tokens.lengths)
    seconds = samples / tokens.sample_rate
    _print_facts(
        {
            "tokens": name,
            "size": f"{size} bytes, {8 * size / seconds / 1000:.2f} kbps as a file",
            "audio": f"{seconds:.3f} s, {samples} samples at {tokens.sample_rate} Hz",
            "codes": f"{counted(tokens.num_codebooks, 'codebook')} x {counted(frames, 'frame')}, "
            f"{_bits(tokens)} bits each",
            "bitrate": f"{tokens.bitrate / 1000:g} kbps of raw codes",
            "tokens/s": f"{tokens.num_codebooks * tokens.sample_rate / tokens.hop_length:g}",
            "fingerprint": tokens.fingerprint,
            "made by": f"codec {tokens.codec_version}",
        }
    )


def _print_facts(facts: dict[str, str]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {printable(value)}")


def _count(module: "nn.Module") -> int:
    """Parameters and codebook entries; windows and the like do not count."""
    tensors = [*module.parameters(), *(t for name, t in module.named_buffers() if name.endswith("codebooks"))]
    return sum(tensor.numel() for tensor in tensors)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"
