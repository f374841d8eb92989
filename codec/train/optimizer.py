"""AdamW, or Muon for hidden matrices with AdamW for the rest, behind one interface; rates by step; averaged weights."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from codec.errors import CodecError


@dataclass(frozen=True)
class OptimizerConfig:
    """Settings of the optimizer."""

    name: Literal["adamw", "muon"] = "adamw"
    """``muon`` (Jordan 2024) orthogonalizes the updates of hidden 2-D weights; scaled to AdamW's size."""
    lr: float = 5e-4
    """Peak learning rate."""
    betas: tuple[float, ...] = (0.8, 0.99)
    eps: float = 1e-8
    """Epsilon of AdamW: gradients far below it count as zero."""
    weight_decay: float = 0.01
    clip: float = 1.0
    """Largest gradient norm; larger gradients are scaled down to it."""

    def __post_init__(self) -> None:
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise CodecError(f"config optimizer.betas: expected two numbers in [0, 1), got {self.betas}")
        if self.lr <= 0 or self.clip <= 0:
            raise CodecError("config optimizer: lr and clip must be positive")
        if self.name == "muon" and not hasattr(torch.optim, "Muon"):
            raise CodecError(f"config optimizer.name: muon needs PyTorch 2.9 or newer, not {torch.__version__}")


class Optimizer:
    """Clips and steps parameters together, whatever number of torch optimizers that takes."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        config: OptimizerConfig,
        hidden: Sequence[nn.Parameter] = (),
    ):
        """
        Args:
            parameters: all of them.
            config: name, rates and clipping.
            hidden: those that Muon may take, see :func:`hidden_matrices`.
        """
        self.config = config
        self.parameters = list(parameters)
        hidden = hidden if config.name == "muon" else ()
        chosen = {id(parameter) for parameter in hidden}
        rest = [p for p in self.parameters if id(p) not in chosen]
        device = self.parameters[0].device
        on_gpu = device.type == "cuda"
        # On a GPU the rate lives there too: a recorded step reads it at every replay.
        rate = torch.tensor(config.lr, device=device) if on_gpu else config.lr
        first, second = config.betas
        # The fused kernel updates all tensors in one pass, also on the CPU.
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(
                rest,
                rate,
                (first, second),
                config.eps,
                config.weight_decay,
                fused=True,
                capturable=on_gpu,
            )
        ]
        if hidden:
            self._optimizers.append(
                torch.optim.Muon(
                    hidden,
                    config.lr,
                    weight_decay=config.weight_decay,
                    adjust_lr_fn="match_rms_adamw",
                )
            )

    def clip(self) -> Tensor:
        """Scale the gradients down to the configured norm; their norm before, a scalar on the device."""
        return nn.utils.clip_grad_norm_(self.parameters, self.config.clip)

    def set_rate(self, scale: float) -> None:
        """Make the learning rate ``scale`` times the configured one."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(self.config.lr * scale)
                else:
                    group["lr"] = self.config.lr * scale

    def step(self) -> None:
        """One update; gradients are freed."""
        for optimizer in self._optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Tensor]:
        """Moments and counters as ``optimizer.parameter.name``; settings come from the config."""
        return {
            f"{number}.{index}.{name}": torch.as_tensor(value)
            for number, optimizer in enumerate(self._optimizers)
            for index, state in optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        states: list[dict[int, dict[str, Tensor]]] = [{} for _ in self._optimizers]
        for key, value in tensors.items():
            number, index, name = key.split(".", 2)
            states[int(number)].setdefault(int(index), {})[name] = value
        for optimizer, state in zip(self._optimizers, states, strict=True):
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": state, "param_groups": groups})


def hidden_matrices(network: nn.Module) -> list[nn.Parameter]:
    """2-D weights of a network but the first and the last.

    Those map from its inputs and to its outputs; Muon's author leaves them to AdamW.
    """
    return [p for p in network.parameters() if p.ndim == 2 and min(p.shape) > 1][1:-1]


@dataclass(frozen=True)
class ScheduleConfig:
    """Linear warm-up, then down to a floor at the last step."""

    kind: Literal["cosine", "tri_stage"] = "cosine"
    """``tri_stage``: up for ``warmup_share`` of the steps, level for ``hold_share``, then a straight line down
    (Speech-FT; it has a floor of 0)."""
    warmup_steps: int = 500
    """Of ``cosine``."""
    warmup_share: float = 0.1
    """Of ``tri_stage``."""
    hold_share: float = 0.4
    """Of ``tri_stage``."""
    floor: float = 0.05
    """Share of the peak rate that is left at the end; it stays there if training continues."""

    def __post_init__(self) -> None:
        if self.warmup_share < 0 or self.hold_share < 0 or self.warmup_share + self.hold_share > 1:
            raise CodecError("config schedule: warmup_share and hold_share must be >= 0 and sum to at most 1")
        if self.warmup_steps < 0 or not 0 <= self.floor <= 1:
            raise CodecError("config schedule: warmup_steps must be >= 0 and floor in [0, 1]")


@dataclass(frozen=True)
class Rates:
    """The factor on the peak learning rate as a function of a run's step.

    Attributes:
        config: the schedule.
        max_steps: of the run.
        start: step of the run in which it begins.
    """

    config: ScheduleConfig
    max_steps: int
    start: int = 0

    def __call__(self, step: int) -> float:
        """Learning rate of step ``step`` of the run."""
        return learning_rate_scale(self.config, max(0, step - self.start), max(1, self.max_steps - self.start))


def learning_rate_scale(config: ScheduleConfig, step: int, max_steps: int) -> float:
    """Factor on the peak learning rate in step ``step`` (from 0) of ``max_steps``."""
    if config.kind == "tri_stage":
        return _tri_stage(config, step / max_steps)
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    progress = min(1.0, (step - config.warmup_steps) / max(1, max_steps - config.warmup_steps))
    return config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * progress))


def _tri_stage(config: ScheduleConfig, progress: float) -> float:
    """Factor after a share ``progress`` of the steps."""
    if progress < config.warmup_share:
        return progress / config.warmup_share
    level = config.warmup_share + config.hold_share
    left = min(1.0, (1 - progress) / (1 - level)) if level < 1 else 1.0
    return config.floor + (1 - config.floor) * max(0.0, left)


class WeightAverage:
    """Exponential moving average of a module's parameters.

    Buffers (codebooks among them) are taken as they are, and so are frozen parameters, bit for bit: a sum would make
    0 of -0, and with it another fingerprint.
    """

    def __init__(self, module: nn.Module, decay: float):
        """
        Args:
            module: whose parameters are followed.
            decay: per step, in [0, 1); less in the first steps, so that the start is forgotten.
        """
        self.decay = decay
        self._parameters = dict(module.named_parameters())
        self._average = {name: value.detach().clone() for name, value in self._parameters.items()}
        self._trained = [name for name, value in self._parameters.items() if value.requires_grad]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the parameters after step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        averages, now = ([one[name] for name in self._trained] for one in (self._average, self._parameters))
        if averages:
            torch._foreach_lerp_(averages, now, 1 - decay)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name."""
        return dict(self._average)

    @torch.no_grad()
    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        for name, value in self._average.items():
            value.copy_(tensors[name])
