"""``codec export``: a model's graphs for other runtimes."""

from pathlib import Path
from typing import Annotated

import typer

from codec.cli import options
from codec.cli.extras import require_extra
from codec.errors import CodecError

Target = Annotated[
    Path | None,
    typer.Argument(
        metavar="[OUT]",
        help="Folder for graphs with their weights; without it, graphs alone go next to the model's weights.",
    ),
]
Onnx = Annotated[bool, typer.Option("--onnx", help="Export to ONNX, the only format so far.")]
Int8 = Annotated[bool, typer.Option("--int8", help="Linear layers in 8 bits: smaller, other codes.")]


def export(
    target: Target = None,
    onnx: Onnx = False,
    model: options.Model = "default",
    int8: Int8 = False,
) -> None:
    """Write encoder and decoder as ONNX graphs, each for offline and streaming use (extra: onnx).

    Without OUT, the graphs go next to the model, where --engine auto and
    --engine onnx find them. A student that codec distill trained becomes one
    graph, OUT/student.onnx.
    """
    from codec.model.files import find_model, load_model
    from codec.students.files import is_student, load_student

    if not onnx:
        raise CodecError("name an export format: codec export --onnx [OUT]")
    if int8 and target is None:
        raise CodecError("--int8 needs an output folder: codec export --onnx OUT --int8")
    with require_extra("onnx", command="export"):
        from codec.export.folder import export_graphs, export_onnx
        from codec.export.student import export_student
    if is_student(find_model(model)):
        if target is None or int8:
            raise CodecError("a student is exported to a folder of its own, in 32 bits: codec export --onnx OUT")
        path = target / "student.onnx"
        target.mkdir(parents=True, exist_ok=True)
        size = export_student(load_student(find_model(model), "cpu"), path)
        typer.echo(f"{path}: {size / 1e6:.2f} MB")
        return
    loaded = load_model(model, "cpu")
    written = export_onnx(loaded, target, int8) if target else export_graphs(loaded, find_model(model))
    for name, size in written.sizes.items():
        typer.echo(f"{written.folder / name}: {size / 1e6:.2f} MB")
