"""A student as one ONNX graph: windows in, vectors out."""

import json
from pathlib import Path

import onnx
import torch
from onnxscript import optimizer

from codec.atomic import atomic_path
from codec.errors import CodecError
from codec.export.fourier import rfft_by_matrix
from codec.export.graph import OPSET, quiet
from codec.students.config import student_to_json
from codec.students.student import Student

INPUT, OUTPUT = "wav", "embedding"


def export_student(student: Student, path: str | Path) -> int:
    """Write ``wav (batch, window)`` at the student's rate to ``embedding (batch, D)``, weights inside.

    :func:`codec.students.front.cut` makes windows of a clip, whose vectors are averaged; ``student`` in the
    file's metadata is the student's ``config.json``.

    Returns:
        Bytes of the file.

    Raises:
        CodecError: for a student with an operation that has no ONNX counterpart.
    """
    proto = _graph(student)
    onnx.helper.set_model_props(
        proto,
        {
            "student": student_to_json(student.config),
            "sample_rate": str(student.sample_rate),
            "window": str(student.config.window),
            "shapes": json.dumps({INPUT: ["batch", student.config.window], OUTPUT: ["batch", student.dim]}),
        },
    )
    content = proto.SerializeToString()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return len(content)


@torch.no_grad()
def _graph(student: Student) -> onnx.ModelProto:
    example = torch.zeros(2, student.config.window)
    shapes = ({0: torch.export.Dim("batch", min=1)},)
    with quiet():
        try:
            program = torch.export.export(student.eval(), (example,), dynamic_shapes=shapes, strict=False)
            exported = torch.onnx.export(
                program.run_decompositions({torch.ops.aten.fft_rfft.default: rfft_by_matrix}),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=shapes,
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
            )
        except CodecError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise CodecError(f"this student cannot be exported to ONNX ({reason})") from error
        if exported is None:
            raise CodecError("this student cannot be exported to ONNX (the exporter returned nothing)")
        return optimizer.optimize(exported.model_proto)
