"""Weight norm for training, plain weights for inference.

Weight norm (Salimans & Kingma 2016) writes a weight as ``g * v / |v|``, the norm over all axes but
the first. Networks are built with plain weights, which cost nothing at inference; training calls
:func:`apply_weight_norm`, and :func:`fold_weight_norm` undoes it. A state dict in either form loads
into a network in either form.
"""

from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

# Of g and v: the names of torch's parametrization, and those it had before (released files).
_NORM_KEYS = (
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
    ("weight_g", "weight_v"),
)


class Foldable(nn.Module):
    """Holds one convolution, under ``name``, that can change to the weight-norm form and back."""

    def __init__(self, name: str, convolution: nn.Conv1d | nn.ConvTranspose1d):
        super().__init__()
        self._name = name
        self.add_module(name, convolution)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: Any) -> None:
        # Before the convolution below takes its part. The hook for this is newer than PyTorch 2.4.
        _convert_loaded(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *others)

    @property
    def convolution(self) -> nn.Conv1d | nn.ConvTranspose1d:
        convolution: nn.Conv1d | nn.ConvTranspose1d = getattr(self, self._name)
        return convolution

    @property
    def normed(self) -> bool:
        """Whether the weight is in the weight-norm form."""
        return parametrize.is_parametrized(self.convolution, "weight")


def apply_weight_norm(module: nn.Module) -> None:
    """Put every convolution of ``module`` into the weight-norm form; its function stays the same."""
    for part in module.modules():
        if isinstance(part, Foldable) and not part.normed:
            weight_norm(part.convolution, "weight", dim=0)


def fold_weight_norm(module: nn.Module) -> None:
    """Put every convolution of ``module`` back to a plain weight; its function stays the same."""
    for part in module.modules():
        if isinstance(part, Foldable) and part.normed:
            parametrize.remove_parametrizations(part.convolution, "weight", leave_parametrized=True)


def _convert_loaded(module: Foldable, state_dict: dict[str, Tensor], prefix: str) -> None:
    """Bring a stored weight to the form in which ``module`` holds it."""
    prefix = f"{prefix}{module._name}."
    plain = f"{prefix}weight"
    if module.normed:
        if plain in state_dict:
            weight = state_dict.pop(plain)
            g_key, v_key = _NORM_KEYS[0]
            state_dict[prefix + g_key], state_dict[prefix + v_key] = _norm(weight), weight
        return
    for g_key, v_key in _NORM_KEYS:
        if prefix + g_key in state_dict and prefix + v_key in state_dict:
            g, v = state_dict.pop(prefix + g_key), state_dict.pop(prefix + v_key)
            state_dict[plain] = v * (g / _norm(v))


def _norm(weight: Tensor) -> Tensor:
    """``(C, 1, 1)`` norms over all axes but the first."""
    return weight.norm(dim=tuple(range(1, weight.ndim)), keepdim=True)
