"""A student and its teacher, and what each of them sees of a crop."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from codec.pretraining.models.frames import FrameEncoder
from codec.pretraining.models.patches import PatchEncoder
from codec.pretraining.models.transformer import Transformer


class Pair(nn.Module):
    """An encoder and the moving average that it learns from.

    Attributes:
        student: the encoder.
        teacher: of the same shape as :meth:`followed`, without gradients.
        width: size of the vectors that are predicted.
        grid: rows and columns of tokens.
    """

    student: PatchEncoder | FrameEncoder
    teacher: nn.Module
    width: int
    grid: tuple[int, int]

    __call__: Callable[..., tuple[Tensor, Tensor]]

    def forward(self, wav: Tensor, order: Tensor, visible: int) -> tuple[Tensor, Tensor]:
        """What the student makes of the tokens that it sees, and the teacher's targets for the others.

        Args:
            wav: ``(B, T)``.
            order: ``(B, N)`` int64, places of all tokens, those that are seen first.
            visible: V, how many are seen.

        Returns:
            ``(B, S + V, width)`` with S tokens that have no place, and ``(B, N - V, width)``.
        """
        raise NotImplementedError

    def followed(self) -> nn.Module:
        """The student's part that the teacher is an average of."""
        raise NotImplementedError


class PatchPair(Pair):
    """MATPAC's two views: the student encodes the tokens that are seen, the teacher only those that are not.

    The teacher has blocks of its own, from another random start; patches, positions and summary token are the
    student's.
    """

    student: PatchEncoder

    def __init__(self, student: PatchEncoder):
        super().__init__()
        self.student = student
        self.teacher = Transformer(student.config.shape).requires_grad_(False)
        self.width, self.grid = student.config.shape.dim, student.config.grid

    def forward(self, wav: Tensor, order: Tensor, visible: int) -> tuple[Tensor, Tensor]:
        """See :class:`Pair`; the summary token comes first."""
        tokens = take(self.student.tokens(self.student.front(wav)), order)
        seen = self.student(tokens[:, :visible])
        with torch.no_grad():
            summary = self.student.cls.detach().expand(len(tokens), -1, -1).to(tokens.dtype)
            hidden = torch.cat([summary, tokens[:, visible:].detach()], dim=1)
            return seen, self.teacher(hidden)[:, 1:]

    def followed(self) -> nn.Module:
        """The student's blocks."""
        return self.student.transformer


class FramePair(Pair):
    """Our views of a codec's encoder, which cannot leave frames out: the student hears silence in their place.

    The teacher hears all of the crop, or silence in place of what the student hears (``complement``), which is
    nearer to MATPAC.
    """

    student: FrameEncoder

    def __init__(self, student: FrameEncoder, frames: int, complement: bool):
        """
        Args:
            frames: of a crop.
        """
        super().__init__()
        self.student, self.teacher = student, copy.deepcopy(student).requires_grad_(False)
        self.width, self.grid, self.complement = student.dim, (1, frames), complement

    def forward(self, wav: Tensor, order: Tensor, visible: int) -> tuple[Tensor, Tensor]:
        """See :class:`Pair`; no token comes before the frames."""
        seen, hidden = order[:, :visible], order[:, visible:]
        found = take(self.student(self._silence(wav, hidden)), seen)
        with torch.no_grad():
            heard = self._silence(wav, seen) if self.complement else wav
            return found, take(self.teacher(heard), hidden)

    def followed(self) -> nn.Module:
        """The whole student."""
        return self.student

    def _silence(self, wav: Tensor, frames: Tensor) -> Tensor:
        """``wav (B, F * hop)`` with zeros in frames ``(B, n)``."""
        kept = wav.new_ones(len(wav), self.grid[1]).scatter_(1, frames, 0.0)
        return wav * kept.repeat_interleave(self.student.hop, dim=1)


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """``(B, N, D)`` and ``(B, n)`` int64 to ``(B, n, D)``."""
    return tokens.gather(1, places.unsqueeze(2).expand(-1, -1, tokens.shape[2]))


@torch.no_grad()
def follow(teacher: nn.Module, student: nn.Module, decay: float) -> None:
    """Move each weight of the teacher to ``decay * teacher + (1 - decay) * student``; other tensors are copied."""
    torch._foreach_lerp_(list(teacher.parameters()), list(student.parameters()), 1 - decay)
    for mine, other in zip(teacher.buffers(), student.buffers(), strict=True):
        mine.copy_(other)
