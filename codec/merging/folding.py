"""Weight norm in state dicts: ``g`` and ``v`` folded to the weight they make, and split again.

Averages of g and of v do not make the average of the weights. So weights are folded, merged, and brought
back to the form that the base has (``w = g v / |v|``, Salimans & Kingma 2016).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from codec.merging.vectors import State

# Endings of g and v: of torch's parametrization, and those it had before.
_FORMS = (
    (".parametrizations.weight.original0", ".parametrizations.weight.original1"),
    (".weight_g", ".weight_v"),
)


def fold(state: State) -> dict[str, Tensor]:
    """The state with a plain ``NAME.weight`` for each pair of g and v."""
    folded = dict(state)
    for stem, g_name, v_name in _pairs(state):
        g, v = folded.pop(g_name), folded.pop(v_name)
        folded[f"{stem}.weight"] = v * (g / _norm_like(v, g))
    return folded


def split(plain: State, form: State, origins: Sequence[State]) -> dict[str, Tensor]:
    """The folded state ``plain`` in the form that ``form`` has.

    Args:
        plain: with a weight for each pair.
        form: tells which weights are pairs, under which names, and over which axes their norm goes.
        origins: states in that form. A weight that is that of one of them gets its g and v, since a
            pair is one of many that make the same weight: nothing merged, nothing changed.
    """
    restored = dict(plain)
    known = [(origin, fold(origin)) for origin in origins]
    for stem, g_name, v_name in _pairs(form):
        weight = restored.pop(f"{stem}.weight")
        same = [o for o, f in known if g_name in o and f[f"{stem}.weight"].equal(weight)]
        if same:
            restored[g_name], restored[v_name] = same[0][g_name], same[0][v_name]
        else:
            restored[g_name], restored[v_name] = _norm_like(weight, form[g_name]), weight
    return {name: restored[name] for name in form}


def _pairs(state: State) -> list[tuple[str, str, str]]:
    """Stem, name of g and name of v of each weight in the weight-norm form."""
    return [
        (name.removesuffix(g_end), name, name.removesuffix(g_end) + v_end)
        for g_end, v_end in _FORMS
        for name in state
        if name.endswith(g_end) and name.removesuffix(g_end) + v_end in state
    ]


def _norm_like(v: Tensor, g: Tensor) -> Tensor:
    """Norms of ``v`` over the axes along which ``g`` has one entry."""
    axes = tuple(axis for axis, size in enumerate(g.shape) if size == 1)
    # Not Tensor.norm, which takes one or two axes.
    return torch.linalg.vector_norm(v, dim=axes, keepdim=True) if axes else v.abs()
