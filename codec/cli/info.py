"""``codec info``: what a model or a token file is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from codec.console import printable
from codec.reading import check_name

if TYPE_CHECKING:
    from torch import nn

    from codec.model.codec import Codec
    from codec.tokens.clip import TokenClip

Subject = Annotated[
    str, typer.Argument(metavar="[FILE|MODEL]", help="A token file, a model's folder, or its name.")
]


def info(subject: Subject = "default") -> None:
    """Describe a model (the default one if none is named) or a token file."""
    from codec.model.files import find_model, load_model
    from codec.tokens.files import READ_SUFFIXES, read_clip

    path = Path(subject)
    check_name(subject, "a token file or a model")
    if path.is_file() or path.suffix.lower() in READ_SUFFIXES:
        _print_clip(path, read_clip(path))
    else:
        _print_model(find_model(subject), load_model(subject, "cpu"))


def _print_model(folder: Path, model: "Codec") -> None:
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
        "latency": f"{latency.milliseconds:g} ms ({latency.samples} samples)"
        if latency
        else "not causal: needs the whole signal",
        "fingerprint": model.fingerprint,
        "licence": licence(folder),
    }
    _print_facts(facts)
    _print_rates(model)


def _bits(clip: "TokenClip") -> str:
    from codec.quantizers.base import bits_per_code

    bits = sorted({bits_per_code(size) for size in clip.layer_sizes})
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


def _print_clip(path: Path, clip: "TokenClip") -> None:
    size = path.stat().st_size
    _print_facts(
        {
            "tokens": str(path),
            "size": f"{size} bytes, {8 * size / clip.seconds / 1000:.2f} kbps as a file",
            "audio": f"{clip.seconds:.3f} s, {clip.num_samples} samples at {clip.sample_rate} Hz",
            "codes": f"{clip.num_codebooks} codebooks x {clip.num_frames} frames, "
            f"{_bits(clip)} bits each",
            "bitrate": f"{clip.bitrate / 1000:g} kbps of raw codes",
            "tokens/s": f"{clip.num_codebooks * clip.sample_rate / clip.hop_length:g}",
            "fingerprint": clip.fingerprint,
            "made by": f"codec {clip.codec_version}",
        }
    )


def _print_facts(facts: dict[str, str]) -> None:
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:<{width}}  {printable(value)}")


def licence(folder: Path) -> str:
    """The ``license:`` line at the top of the model card next to the weights."""
    card = folder / "README.md"
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    if lines[:1] == ["---"]:
        for line in lines[1:]:
            key, _, value = line.partition(":")
            if key == "---":
                break
            if key.strip() == "license":
                return value.strip()
    return "not stated"


def _count(module: "nn.Module") -> int:
    """Parameters and codebook entries; windows and the like do not count."""
    tensors = [*module.parameters(), *(t for name, t in module.named_buffers() if name == "codebooks")]
    return sum(tensor.numel() for tensor in tensors)


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"
