"""A student as one ONNX graph: windows in, vectors out."""

import json
from pathlib import Path

import onnx
import torch
from onnxscript import optimizer

from codec.atomic import atomic_path
from codec.export.graph import onnx_program, quiet
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
    exported = onnx_program(student.eval(), (example,), shapes, [INPUT], [OUTPUT])
    with quiet():
        return optimizer.optimize(exported.model_proto)
