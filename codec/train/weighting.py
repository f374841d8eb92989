"""Weights of several teachers that adapt themselves while they teach."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from codec.errors import CodecError
from codec.train.balancer import gradient_norms, output_gradients
from codec.train.distributed import all_reduce_sum, world_size

_TINY = 1e-12


@dataclass(frozen=True)
class WeightingConfig:
    """How the losses of teachers are weighted among each other; their weights are the user's in all modes."""

    mode: Literal["constant", "target_norm", "balancer", "dwa", "uncertainty"] = "constant"
    """constant: as given. target_norm: each loss relative to its first steps. balancer: weights are shares of
    the gradient at the latents. dwa: more for losses that fall more slowly. uncertainty: learned."""
    window: int = 100
    """Steps: the first ones of target_norm, and an epoch of dwa."""
    temperature: float = 2.0
    """Of dwa's softmax."""
    total_norm: float = 0.05
    """R of balancer: the norm that the shares add up to. Constant weights of 1 for one teacher and 0.3 for three
    more add up to 0.04 (multi_teacher, first steps)."""
    ema_decay: float = 0.999
    """Of balancer's norms."""

    def __post_init__(self) -> None:
        for key in ("window", "temperature", "total_norm"):
            if not getattr(self, key) > 0:
                raise CodecError(f"config weighting.{key}: expected more than 0, got {getattr(self, key)}")
        if not 0 <= self.ema_decay < 1:
            raise CodecError(f"config weighting.ema_decay: expected a number in [0, 1), got {self.ema_decay}")


class TeacherWeights(nn.Module):
    """A factor for each teacher's loss, that its weight is multiplied by.

    Multi-Distillation (arXiv 2506.07237) names an adaptive weighting that no released code has; these modes
    are our definitions. With ``L_k`` the loss of teacher k, ``w_k`` its weight and K teachers:

    - ``constant``: 1.
    - ``target_norm``: one over the mean of L_k in its first ``window`` steps; 1 before there was any.
    - ``balancer``: ``R / sum_j w_j / <|g_k|>``, with ``g_k = d L_k / d latent`` and a bias-corrected moving
      average of norms, as in EnCodec (arXiv 2210.13438, equation 6), at the latents instead of the output.
    - ``dwa`` (Liu et al. 2019, arXiv 1803.10704, equation 7): ``K softmax_k(r_k / T)``, with ``r_k`` the mean
      of L_k in the last window over that in the window before; 1 in the first two windows.
    - ``uncertainty`` (Kendall et al. 2018, arXiv 1705.07115): ``exp(-s_k) L_k + s_k`` with a learned ``s_k``, 0 at
      first: the factor is ``exp(-s_k)``.

    A teacher that has nothing to say about a batch has a loss of exactly zero: it moves no average, learns
    nothing, and adds nothing. All averages are of all processes' batches. They are buffers, so that a resumed
    run goes on with them.
    """

    weights: Tensor
    sums: Tensor
    counts: Tensor
    norms: Tensor
    masses: Tensor
    windows: Tensor
    steps: Tensor

    def __init__(self, config: WeightingConfig, weights: dict[str, float]):
        """
        Args:
            config: settings.
            weights: of the teachers' losses, by the loss's name.
        """
        super().__init__()
        self.config, self.names = config, tuple(weights)
        size = len(weights)
        self.register_buffer("weights", torch.tensor(list(weights.values())), persistent=False)
        if config.mode == "uncertainty":
            self.log_variance = nn.Parameter(torch.zeros(size))
        if config.mode in ("target_norm", "dwa"):
            self.register_buffer("sums", torch.zeros(size))
            self.register_buffer("counts", torch.zeros(size))
        if config.mode == "dwa":
            # Means of the last two windows, newest first; zero: not known.
            self.register_buffer("windows", torch.zeros(2, size))
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        if config.mode == "balancer":
            self.register_buffer("norms", torch.zeros(size))
            self.register_buffer("masses", torch.zeros(size))

    def forward(self, losses: dict[str, Tensor], latent: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses times their factors, and the effective weights, detached, both by the losses' names.

        Args:
            losses: scalars; those that are no teacher's are not looked at.
            latent: ``(B, D, T)`` the encoder's output, which the losses depend on.
        """
        if self.config.mode == "constant":
            return {name: losses[name] for name in self.names}, dict(
                zip(self.names, self.weights.unbind(), strict=True)
            )
        values = torch.stack([losses[name] for name in self.names])
        present = all_reduce_sum((values.detach() != 0).float()) > 0
        factors = self._factors({name: losses[name] for name in self.names}, values.detach(), present, latent)
        weighed = factors * values
        if self.config.mode == "uncertainty":
            weighed = weighed + self.log_variance * present
        return (
            dict(zip(self.names, weighed.unbind(), strict=True)),
            dict(zip(self.names, (self.weights * factors.detach()).unbind(), strict=True)),
        )

    def _factors(self, losses: dict[str, Tensor], values: Tensor, present: Tensor, latent: Tensor) -> Tensor:
        if self.config.mode == "uncertainty":
            return torch.exp(-self.log_variance)
        if self.config.mode == "balancer":
            return self._balanced(losses, present, latent)
        if not self.training:
            return self._relative() if self.config.mode == "target_norm" else self._slower_more()
        # A process has its share of the mean over all processes' batches.
        mean = all_reduce_sum(values) / world_size()
        if self.config.mode == "target_norm":
            open_ = present & (self.counts < self.config.window)
            self._add(mean, open_)
            return self._relative()
        factors = self._slower_more()
        self._add(mean, present)
        self._end_of_window()
        return factors

    def _add(self, mean: Tensor, counted: Tensor) -> None:
        counted = counted & mean.isfinite()
        self.sums.add_(torch.where(counted, mean, torch.zeros_like(mean)))
        self.counts.add_(counted)

    def _relative(self) -> Tensor:
        mean = self.sums / self.counts.clamp(min=1)
        return torch.where(self.counts > 0, 1 / mean.clamp(min=_TINY), torch.ones_like(mean))

    def _slower_more(self) -> Tensor:
        newest, before = self.windows
        known = (newest > 0) & (before > 0)
        # A teacher without data in a window counts as one that neither falls nor rises.
        ratio = torch.where(known, newest / before.clamp(min=_TINY), torch.ones_like(newest))
        return len(self.names) * torch.softmax(ratio / self.config.temperature, dim=0)

    def _end_of_window(self) -> None:
        self.steps.add_(1)
        over = self.steps % self.config.window == 0
        means = torch.where(self.counts > 0, self.sums / self.counts.clamp(min=1), self.windows[0])
        self.windows.copy_(torch.where(over, torch.stack([means, self.windows[0]]), self.windows))
        self.sums.mul_(~over)
        self.counts.mul_(~over)

    def _balanced(self, losses: dict[str, Tensor], present: Tensor, latent: Tensor) -> Tensor:
        norms = torch.zeros_like(self.norms)
        if latent.requires_grad:
            found = gradient_norms(output_gradients(losses, latent))
            norms = torch.stack([found.get(name, self.norms.new_zeros(())) for name in self.names])
        if self.training:
            counted, decay = present & norms.isfinite() & (norms > 0), self.config.ema_decay
            self.norms.copy_(torch.where(counted, decay * self.norms + (1 - decay) * norms, self.norms))
            self.masses.copy_(torch.where(counted, decay * self.masses + (1 - decay), self.masses))
        average = self.norms / self.masses.clamp(min=_TINY)
        share = self.config.total_norm / self.weights.sum().clamp(min=_TINY)
        return torch.where(self.masses > 0, share / average.clamp(min=_TINY), torch.zeros_like(average))
