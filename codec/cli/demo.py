"""``codec demo``: a bundled clip through the codec, with a picture and metrics."""

from pathlib import Path
from typing import Annotated

import typer

from codec.cli import options

Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results, which replace old ones.")]
Input = Annotated[
    Path | None, typer.Option("--input", "-i", help="A recording of your own; speech is bundled.")
]


def demo(
    out: Out = Path("demo"),
    input: Input = None,
    model: options.Model = "default",
    device: options.Device = "auto",
) -> None:
    """Encode and decode a clip; write wavs, tokens and a picture, and print metrics."""
    from codec.cli.extras import require_extra

    with require_extra("demo"):
        from codec.demo.run import run_demo

        run_demo(out, input, model, device)
