"""What is trained: the student, and a head that maps its vector to the teacher's."""

from torch import Tensor, nn

from codec.distilling.config import HeadConfig
from codec.students.student import Student


class MappingHead(nn.Sequential):
    """``Linear - hard swish - dropout - Linear`` (S-SONDO), or one linear map where ``hidden`` is 0."""

    def __init__(self, config: HeadConfig, inputs: int, outputs: int):
        if not config.hidden:
            super().__init__(nn.Linear(inputs, outputs))
            return
        super().__init__(
            nn.Linear(inputs, config.hidden),
            nn.Hardswish(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, outputs),
        )


class Distiller(nn.Module):
    """Student and head, one module for the wrapper of several processes."""

    def __init__(self, student: Student, head: HeadConfig, dim: int):
        """
        Args:
            dim: length of the teacher's vectors.
        """
        super().__init__()
        self.student = student
        self.head = MappingHead(head, student.dim, dim)

    def forward(self, wav: Tensor) -> Tensor:
        """Windows ``(B, window)`` to ``(B, dim)``."""
        return self.head(self.student(wav))
