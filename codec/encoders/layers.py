"""Choice of a teacher's hidden states as target: ``avg``, ``last``, a number, or a list."""

from dataclasses import dataclass

import torch
from torch import Tensor

from codec.errors import CodecError


@dataclass(frozen=True)
class LayerChoice:
    """A validated choice among a model's hidden states; 0 is the embedding's output."""

    name: str
    """``avg``, ``last``, ``7`` or ``4,7,9``: how caches write it."""
    indices: tuple[int, ...]
    num_states: int

    def combine(self, hidden_states: tuple[Tensor, ...]) -> Tensor:
        """``(B, T, D)`` float32: the chosen state, or the mean of the chosen ones."""
        if len(hidden_states) != self.num_states:
            raise RuntimeError(f"the teacher gave {len(hidden_states)} hidden states, not {self.num_states}")
        if len(self.indices) == 1:
            return hidden_states[self.indices[0]].float()
        return torch.stack([hidden_states[index].float() for index in self.indices]).mean(dim=0)


def layer_name(layer: str | int | list[int]) -> str:
    """A choice as caches write it: ``[4, 7]`` becomes ``4,7``."""
    return ",".join(map(str, layer)) if isinstance(layer, (list, tuple)) else str(layer)


def choose_layers(layer: str | int | list[int], num_layers: int) -> LayerChoice:
    """Validate a choice for a model of ``num_layers`` blocks, that is ``num_layers + 1`` states.

    ``avg`` is the mean of all of them, the embedding's output included, as in DM-Codec's code.

    Raises:
        CodecError: for a word other than ``avg`` and ``last``, or a number out of range.
    """
    name = layer_name(layer)
    if name == "avg":
        return LayerChoice(name, tuple(range(num_layers + 1)), num_layers + 1)
    if name == "last":
        return LayerChoice(name, (num_layers,), num_layers + 1)
    try:
        indices = tuple(int(part) for part in name.split(","))
    except ValueError:
        raise CodecError(f"layer {name!r}: expected avg, last, a number or a list of numbers") from None
    outside = [index for index in indices if not 0 <= index <= num_layers]
    if outside:
        raise CodecError(f"layer {outside[0]}: the teacher has hidden states 0 to {num_layers}")
    return LayerChoice(name, indices, num_layers + 1)
