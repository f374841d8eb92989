"""Weight norm for training, plain weights for inference.

Weight norm (Salimans & Kingma 2016) writes a weight as ``g * v / |v|``, the norm over all axes but
the first. Networks are built with plain weights, which cost nothing at inference; training calls
:func:`apply_weight_norm`, and :func:`fold_weight_norm` before saving. Files in either form load
into a network of plain weights.
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
        self.register_load_state_dict_pre_hook(_fold_loaded)

    @property
    def convolution(self) -> nn.Conv1d | nn.ConvTranspose1d:
        return self.get_submodule(self._name)

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


def _fold_loaded(module: Foldable, state_dict: dict[str, Tensor], prefix: str, *_: Any) -> None:
    """State-dict hook: replace g and v by the weight when ``module`` holds a plain one."""
    if module.normed:
        return
    for keys in _NORM_KEYS:
        g_key, v_key = (f"{prefix}{module._name}.{key}" for key in keys)
        if g_key in state_dict and v_key in state_dict:
            g, v = state_dict.pop(g_key), state_dict.pop(v_key)
            norm = v.norm(dim=tuple(range(1, v.ndim)), keepdim=True)
            state_dict[f"{prefix}{module._name}.weight"] = v * (g / norm)
