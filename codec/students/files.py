"""A student on disk: a folder with ``config.json`` and ``model.safetensors``."""

from pathlib import Path

import torch
from safetensors.torch import save

from codec.atomic import atomic_path
from codec.errors import CodecError
from codec.model.files import load_weights, pick_device
from codec.students.config import read_student_config, student_to_json
from codec.students.student import Student


def save_student(student: Student, folder: str | Path) -> None:
    """Write both files, each in one step; a mapping head is no part of a student."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in student.state_dict().items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(tensors))
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(student_to_json(student.config), encoding="utf-8")


def is_student(folder: Path) -> bool:
    """Whether the folder's ``config.json`` is of a student, not of a codec."""
    try:
        read_student_config(folder / "config.json")
    except CodecError:
        return False
    return True


def load_student(folder: str | Path, device: str | torch.device = "auto") -> Student:
    """Load a student for inference.

    Args:
        folder: that ``codec distill`` wrote, ``<output>/export``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or a ``torch.device``.

    Returns:
        The student in eval mode, in float32.

    Raises:
        CodecError: when the folder holds no student, or its files are damaged or disagree.
    """
    folder = Path(folder).expanduser()
    student = Student(read_student_config(folder / "config.json"))
    load_weights(student, folder, "a student")
    return student.eval().requires_grad_(False).to(pick_device(device))
