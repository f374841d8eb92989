"""Loss balancer: a weight is a loss's share of the gradient, whatever its scale."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.errors import CodecError
from codec.train.distributed import all_reduce_sum, world_size

# Below this a gradient counts as zero, so that a loss at its minimum does not divide by zero.
_TINY = 1e-12


@dataclass(frozen=True)
class BalancerConfig:
    """Settings of :class:`Balancer`."""

    total_norm: float = 1.0
    """R, the norm that the shares add up to."""
    ema_decay: float = 0.999
    """Decay of the running norms."""


@dataclass
class Balanced:
    """Result of one balancing.

    Attributes:
        total: scalar for ``backward``; its value means nothing, its gradient is the balanced one.
        norms: by loss, the norm of its gradient at the output, before balancing.
        shares: by loss, its part of the summed norms after balancing; they add up to 1.
    """

    total: Tensor
    norms: dict[str, Tensor]
    shares: dict[str, Tensor]


class Balancer:
    """Balances gradients at the decoder's output.

    EnCodec (Defossez et al. 2022, arXiv 2210.13438, section 3.4, equation 6), with
    ``g_i = d loss_i / d output`` and ``<.>`` an exponential, bias-corrected average over steps::

        g = R sum_i w_i / (sum_j w_j) g_i / <|g_i|>

    where j runs over the losses present in the step. The norm ``|g|`` is the sum over clips of a
    clip's Euclidean norm: for losses that are means over the batch it depends neither on the batch
    size nor, averaged over processes, on their number.

    Losses that do not depend on the output (commitment, distillation) are added as ``w_i loss_i``.
    A loss may depend on the output or on the encoder, but not on both. Nothing here waits for the
    device.

    Args:
        config: settings.
        weights: by loss name.

    Raises:
        CodecError: for a negative weight.
    """

    def __init__(self, config: BalancerConfig, weights: dict[str, float]):
        for name, weight in weights.items():
            if weight < 0:
                raise CodecError(f"weight of loss {name!r} is {weight}; the balancer needs 0 or more")
        self.config = config
        self.weights = dict(weights)
        # Discounted sum of norms and of ones; their quotient is the bias-corrected average.
        self._sums: dict[str, Tensor] = {}
        self._masses: dict[str, Tensor] = {}

    def __call__(self, losses: dict[str, Tensor], output: Tensor) -> Balanced:
        """Balance one step; the losses' graphs are kept.

        Args:
            losses: scalars by name; one without a graph is skipped.
            output: ``(B, T)`` decoded waveform, with gradient.

        Raises:
            KeyError: for a loss without a weight.
        """
        active = {n: value for n, value in losses.items() if value.requires_grad and self.weights[n]}
        gradients = output_gradients(active, output)
        direct = [self.weights[n] * value for n, value in active.items() if n not in gradients]
        total = torch.stack(direct).sum() if direct else output.new_zeros(())
        if not gradients:
            return Balanced(total, {}, {})
        norms = gradient_norms(gradients)
        weights = output.new_tensor([self.weights[n] for n in gradients])
        self._update(norms)
        averages = torch.stack([self._sums[n] / self._masses[n].clamp(min=_TINY) for n in gradients])
        factors = self.config.total_norm * weights / weights.sum() / averages.clamp(min=_TINY)
        mix = sum(factor * gradient for factor, gradient in zip(factors, gradients.values(), strict=True))
        parts = factors * torch.stack(list(norms.values()))
        shares = parts / parts.sum().clamp(min=_TINY)
        # The gradient of this product at the output is the mix.
        total = total + (output * mix).sum()
        return Balanced(total, norms, dict(zip(gradients, shares.unbind(), strict=True)))

    @torch.no_grad()
    def _update(self, norms: dict[str, Tensor]) -> None:
        decay = self.config.ema_decay
        for name, norm in norms.items():
            old_sum = self._sums.get(name, torch.zeros_like(norm)).to(norm.device)
            old_mass = self._masses.get(name, torch.zeros_like(norm)).to(norm.device)
            # One exploding step must not spoil the average for thousands.
            finite = torch.isfinite(norm)
            self._sums[name] = torch.where(finite, decay * old_sum + (1 - decay) * norm, old_sum)
            self._masses[name] = torch.where(finite, decay * old_mass + (1 - decay), old_mass)

    def state_dict(self) -> dict[str, Tensor]:
        """Running norms as a flat dict of scalars, for exact resume."""
        state = {f"sum.{name}": value for name, value in self._sums.items()}
        state.update({f"mass.{name}": value for name, value in self._masses.items()})
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state_dict` gave."""
        self._sums = {key[4:]: value.clone() for key, value in state.items() if key.startswith("sum.")}
        self._masses = {key[5:]: value.clone() for key, value in state.items() if key.startswith("mass.")}


def output_gradients(losses: dict[str, Tensor], output: Tensor) -> dict[str, Tensor]:
    """Gradient ``(B, T)`` at ``output`` of each loss that depends on it; graphs are kept."""
    gradients = {}
    for name, value in losses.items():
        if not value.requires_grad:
            continue
        (gradient,) = torch.autograd.grad(value, output, retain_graph=True, allow_unused=True)
        if gradient is not None:
            gradients[name] = gradient
    return gradients


def gradient_norms(gradients: dict[str, Tensor]) -> dict[str, Tensor]:
    """Sum over clips of each gradient's norm, averaged over processes."""
    stacked = torch.stack([g.float().flatten(1).norm(dim=1).sum() for g in gradients.values()])
    stacked = all_reduce_sum(stacked) / world_size()
    return dict(zip(gradients, stacked.unbind(), strict=True))
