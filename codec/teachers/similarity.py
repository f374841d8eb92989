"""Masked similarity of a student's and a teacher's frames, along time or along features."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Form = Literal["log_sigmoid", "one_minus_cosine"]


def check_shapes(student: Tensor, teacher: Tensor, mask: Tensor) -> None:
    """Raise a ValueError unless student and teacher are ``(B, T, D)`` and mask ``(B, T)``.

    Broadcasting would hide a wrong axis: a loss on one frame, or a cosine over the batch.
    """
    if student.ndim != 3 or student.shape != teacher.shape or mask.shape != student.shape[:2]:
        raise ValueError(
            "expected student and teacher (B, T, D) of one shape and mask (B, T), got "
            f"{tuple(student.shape)}, {tuple(teacher.shape)} and {tuple(mask.shape)}"
        )


def penalty(cosine: Tensor, form: Form) -> Tensor:
    """``-log sigma(cos)``, from 0.3133 at cos 1 to 1.3133 at -1, or ``1 - cos``."""
    return -F.logsigmoid(cosine) if form == "log_sigmoid" else 1 - cosine


def d_axis(student: Tensor, teacher: Tensor, mask: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Cosine over time, one for each item and dimension, over the unmasked frames only.

    ``l_b = 1/D sum_d penalty(cos_t(F[b, :, d], Z[b, :, d]))``.

    Args:
        student: F ``(B, T, D)``.
        teacher: Z ``(B, T, D)``.
        mask: ``(B, T)`` bool.
        form: see :func:`penalty`.

    Returns:
        Values ``(B,)`` and whether each counts ``(B,)`` bool: an item without frames does not.
    """
    check_shapes(student, teacher, mask)
    hidden = ~mask.unsqueeze(2)
    cosine = F.cosine_similarity(student.masked_fill(hidden, 0.0), teacher.masked_fill(hidden, 0.0), dim=1)
    return penalty(cosine, form).mean(dim=1), mask.any(dim=1)


def t_axis(
    student: Tensor, teacher: Tensor, mask: Tensor, form: Form, l1_weight: float
) -> tuple[Tensor, Tensor]:
    """Cosine over features, one for each frame, and the distance of the features.

    ``l_bt = penalty(cos_d(F[b, t], Z[b, t])) + l1_weight / D sum_d |F[b, t, d] - Z[b, t, d]|``.

    Returns:
        Values ``(B, T)`` and whether each counts ``(B, T)`` bool: the mask.
    """
    check_shapes(student, teacher, mask)
    hidden = ~mask.unsqueeze(2)
    student, teacher = student.masked_fill(hidden, 0.0), teacher.masked_fill(hidden, 0.0)
    values = penalty(F.cosine_similarity(student, teacher, dim=2), form)
    if l1_weight:
        values = values + l1_weight * (student - teacher).abs().mean(dim=2)
    return values, mask
