"""The weighted sum of losses that the generator minimises."""

import json
import math
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from codec.atomic import atomic_path
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.train import losses as _registered  # noqa: F401  (losses register themselves)
from codec.train.losses.distillation import TeacherLoss
from codec.train.losses.l2_sp import L2SPLoss
from codec.train.losses.registry import LossContext, build_loss, check_teacher, loss_config, typed_options
from codec.train.types import LossInput
from codec.train.weighting import TeacherWeights, WeightingConfig

RESERVED = {"total", "grad_norm", "discriminator", "discriminator_grad_norm", "hours_per_hour"}
"""Tags of the log that are no losses."""


class Objective(nn.Module):
    """All losses of a config; those with weights of their own (distillation) train them here."""

    def __init__(
        self,
        losses: dict[str, dict[str, Any]],
        context: LossContext,
        weighting: WeightingConfig | None = None,
    ):
        """
        Args:
            losses: by name: ``weight``, ``type`` (the name by default) and the options of that type.
            context: facts of the model and the data.
            weighting: of the teachers among each other; constant by default.

        Raises:
            CodecError: for an unknown loss or option, or a missing or negative weight.
        """
        super().__init__()
        for name in losses:
            _check_name(name)
        self.subjects = {name: loss_subject(name, options) for name, options in losses.items()}
        self.weights = {name: loss_weight(name, options) for name, options in losses.items()}
        self.losses = nn.ModuleDict(
            {
                name: build_loss(name, _own_options(options), context)
                for name, options in losses.items()
            }
        )
        self.hears_audio = any(getattr(module, "hears_audio", True) for module in self.losses.values())
        taught = self._taught()
        self.weighting = TeacherWeights(
            weighting or WeightingConfig(), {name: self.weights[name] for name in self.weights if name in taught}
        )

    def watch(self, codec: Codec) -> None:
        """Show the model to losses on its weights."""
        for module in self._anchored():
            module.watch(codec)

    def restart(self) -> None:
        """Take the model's weights as they are now for the start, in losses on its weights."""
        for module in self._anchored():
            module.restart()

    def forward(self, inputs: LossInput) -> dict[str, Tensor]:
        """Unweighted scalars by name, float32."""
        return {name: loss(inputs).float() for name, loss in self.losses.items()}

    def weigh(
        self, values: dict[str, Tensor], latent: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Values with those of teachers times their factors, and the teachers' effective weights.

        Args:
            values: of :meth:`forward`.
            latent: ``(B, D, T)`` that they depend on.
        """
        if not self.weighting.names:
            return values, {}
        weighed, weights = self.weighting(values, latent)
        return values | weighed, weights

    def facts(self) -> dict[str, Tensor]:
        """What losses say of the latest batch besides their values, as ``FACT/LOSS``."""
        said = {name: getattr(module, "facts", {}) for name, module in self.losses.items()}
        return {f"{fact}/{name}": value for name, facts in said.items() for fact, value in facts.items()}

    def save_heads(self, path: Path) -> None:
        """Write what losses learned, with the moments of teachers' targets, as ``LOSS.head.*`` and so on.

        The metadata say each loss's teacher or alphabet, and attach point. They are no part of a codec: with them,
        a latent can be compared with a teacher again, or read. Nothing is written where no loss has a head.
        """
        heads = self.heads()
        if not heads:
            return
        tensors = {
            f"{name}.{key}": value.detach().cpu().contiguous()
            for name, module in heads.items()
            for key, value in module.state_dict().items()
        }
        facts = {name: json.dumps(module.described) for name, module in heads.items()}
        with atomic_path(path) as temporary:
            temporary.write_bytes(save(tensors, metadata=facts))

    def heads(self) -> dict[str, nn.Module]:
        """The losses that learn weights of their own, by name."""
        return {name: module for name, module in self.losses.items() if hasattr(module, "described")}

    def _anchored(self) -> list[L2SPLoss]:
        return [module for module in self.losses.values() if isinstance(module, L2SPLoss)]

    def _taught(self) -> dict[str, TeacherLoss]:
        return {name: module for name, module in self.losses.items() if isinstance(module, TeacherLoss)}

    def total(self, values: dict[str, Tensor], strength: Tensor | None = None) -> Tensor:
        """``sum_i weight_i loss_i``; ``strength`` is a factor on those that discriminators give."""
        weighted = []
        for name, value in values.items():
            term = self.weights[name] * value
            if strength is not None and getattr(self.losses[name], "needs_discriminators", False):
                term = strength * term
            weighted.append(term)
        return torch.stack(weighted).sum()


def check_losses(losses: dict[str, dict[str, Any]], model: CodecConfig, teachers: Collection[str]) -> None:
    """Find errors in losses before data are read: whatever needs no teacher's features to be seen.

    Args:
        losses: options by name, each with its ``weight``.
        model: of the run.
        teachers: names of those that are configured.

    Raises:
        CodecError: for an unknown loss or option, a missing or negative weight, or a value that the model does not fit.
    """
    context = LossContext(model.sample_rate, model.network.latent_dim, model.quantizer.num_codebooks)
    for name, options in losses.items():
        _check_name(name)
        loss_weight(name, options)
        _, config = loss_config(name, _own_options(options))
        teacher = getattr(config, "teacher", None)
        if teacher is not None:
            check_teacher(name, teacher, teachers)
        else:
            # The weights of a head are thrown away, so that a run draws the same numbers as without this check.
            with torch.random.fork_rng(devices=()):
                build_loss(name, _own_options(options), context)


def complete_losses(losses: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The options of losses by name, with the defaults of those that are not given."""
    return {name: asdict(loss_config(name, _own_options(options))[1]) for name, options in losses.items()}


def _check_name(name: str) -> None:
    # Modules are named so, and the log has other values.
    if not name.isidentifier() or name in RESERVED or hasattr(nn.ModuleDict(), name):
        told = "use letters, digits and _, and no name that the log or PyTorch has"
        raise CodecError(f"config losses.{name}: not a name for a loss; {told}")


def _own_options(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "weight"}


def loss_weight(name: str, options: dict[str, Any]) -> float:
    """The ``weight`` of a loss's options.

    Raises:
        CodecError: when it is missing, negative or no number.
    """
    weight = options.get("weight")
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight < math.inf:
        raise CodecError(f"config losses.{name}.weight: expected a number >= 0, got {weight!r}")
    return float(weight)


def loss_subject(name: str, options: dict[str, Any]) -> tuple[Any, ...]:
    """Type of a loss, or its teacher and translator: with another one, what it has learned means nothing."""
    typed = typed_options(name, options)
    if "teacher" in typed:
        return "teacher", typed["teacher"], typed.get("translator", "linear")
    return (typed["type"],)
