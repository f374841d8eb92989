"""Losses between a student's and a teacher's vectors, by name; all means over clips.

S-SONDO (arXiv 2604.24933) compares these five. A new one is a class with ``@embedding_loss("name")``, with a
nested ``Config``, that maps two tensors ``(B, D)`` to a scalar.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from codec.config import from_dict
from codec.errors import CodecError
from codec.registry import Registry
from codec.train.distributed import rank, world_size

RESERVED = {"total", "grad_norm", "cosine_similarity", "constant", "gain", "hours_per_hour"}
"""Tags of the log that are no losses."""

EMBEDDING_LOSSES: Registry[type[nn.Module]] = Registry("embedding loss")


def embedding_loss(name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator: register a loss."""
    return EMBEDDING_LOSSES.register(name)


@dataclass(frozen=True)
class NoOptions:
    """A loss without options."""


@dataclass(frozen=True)
class TemperatureConfig:
    """A loss with a temperature."""

    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.temperature <= 0:
            raise CodecError(f"temperature: expected more than 0, got {self.temperature}")


class VectorLoss(nn.Module):
    """A loss that is built from its ``Config``."""

    Config: type = NoOptions

    def __init__(self, config: Any):
        super().__init__()
        self.config = config


@embedding_loss("cosine")
class CosineLoss(VectorLoss):
    """``mean_i 1 - cos(s_i, t_i)``: the length of either does not count."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (1 - F.cosine_similarity(student, teacher, dim=1)).mean()


@embedding_loss("l1")
class L1Loss(VectorLoss):
    """``mean_{i,d} |s_id - t_id|``."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).abs().mean()


@embedding_loss("mse")
class MSELoss(VectorLoss):
    """``mean_{i,d} (s_id - t_id)^2``."""

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        return (student - teacher).square().mean()


@embedding_loss("kl")
class KLLoss(VectorLoss):
    """``T^2 mean_i KL(softmax(t_i / T) || softmax(s_i / T))``, the softmax over dimensions, in nats.

    The paper's released code divides by the number of dimensions as well.
    """

    Config = TemperatureConfig

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        T = self.config.temperature
        logs = (student / T).log_softmax(dim=1)
        return T**2 * F.kl_div(logs, (teacher / T).softmax(dim=1), reduction="batchmean")


@embedding_loss("contrastive")
class ContrastiveLoss(VectorLoss):
    """Each student's vector finds its teacher's among the batch's, and the other way round (CLAP's form).

    With ``S = s t^T / T`` of vectors of length 1: ``(CE(S, diagonal) + CE(S^T, diagonal)) / 2``, over the
    batch of all processes.
    """

    @dataclass(frozen=True)
    class Config(TemperatureConfig):
        temperature: float = 0.07

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
        logits = with_others(student) @ with_others(teacher).t() / self.config.temperature
        own = torch.arange(len(logits), device=logits.device)
        loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.t(), own)) / 2
        # The gradient to this process's rows is whole; DDP's mean over processes would divide it.
        return loss + (world_size() - 1) * (loss - loss.detach())


def with_others(rows: Tensor) -> Tensor:
    """``(B, D)`` of each process, in rank order; the gradient reaches this process's rows only."""
    if world_size() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world_size())]
    dist.all_gather(parts, rows.detach().contiguous())
    parts[rank()] = rows
    return torch.cat(parts)


class EmbeddingObjective(nn.Module):
    """The weighted sum of embedding losses."""

    def __init__(self, losses: dict[str, dict[str, Any]]):
        """
        Args:
            losses: by name, which is the tag in the log: ``weight`` (1 by default), ``type`` (the name by
                default) and that type's options.

        Raises:
            CodecError: when there is none, or for an unknown type or option, or a negative weight.
        """
        super().__init__()
        if not losses:
            raise CodecError(f"config losses: none given; name at least one of {', '.join(sorted(EMBEDDING_LOSSES))}")
        self.weights: dict[str, float] = {}
        self.losses = nn.ModuleDict()
        for name, options in losses.items():
            # Modules are named so, and the log has values of its own.
            if not name.isidentifier() or name in RESERVED:
                raise CodecError(f"config losses.{name}: not a name for a loss; use letters, digits and _")
            values = {"type": name, "weight": 1.0, **options}
            weight, kind = values.pop("weight"), values.pop("type")
            if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
                raise CodecError(f"config losses.{name}.weight: expected a number >= 0, got {weight!r}")
            cls: Any = EMBEDDING_LOSSES.find(kind, f"losses.{name}")
            self.weights[name] = float(weight)
            self.losses[name] = cls(from_dict(cls.Config, values, f"losses.{name}"))

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and unweighted values by name; no gradient reaches the teacher.

        Raises:
            ValueError: for vectors of different shapes, which would broadcast.
        """
        if student.ndim != 2 or student.shape != teacher.shape:
            raise ValueError(f"expected two (B, D), got {tuple(student.shape)} and {tuple(teacher.shape)}")
        teacher = teacher.detach()
        values = {name: loss(student, teacher) for name, loss in self.losses.items()}
        total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        return total, values
