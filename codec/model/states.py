"""The states of a network for a batch of slots, whatever tree the network keeps them in.

A state is ``None`` (silence before the start), a tensor whose first axis is the batch, or a list,
tuple or dataclass of states. Silence is also the same tree with zeros in every tensor, so a slot
starts again when its rows are zeroed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from codec.errors import CodecError

State = Any


def map_state(function: Callable[..., Tensor], state: State, *others: State) -> State:
    """The tree of ``function(tensor, *tensors of the others at the same place)``."""
    if isinstance(state, Tensor):
        return function(state, *others)
    if state is None:
        return None
    if isinstance(state, list | tuple):
        return type(state)([map_state(function, *parts) for parts in zip(state, *others, strict=True)])
    # Its fields in their order; ``dataclasses.fields`` would take longer than a single frame's tensors do.
    fields = [vars(tree).values() for tree in (state, *others)]
    return type(state)(*[map_state(function, *trees) for trees in zip(*fields, strict=True)])


def tensors_of(state: State) -> list[Tensor]:
    """The tensors of a state, in the order in which :func:`map_state` visits them."""
    tensors: list[Tensor] = []

    def visit(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor

    map_state(visit, state)
    return tensors


class SlotStates:
    """The states of ``batch`` signals, each of which can be restarted independently."""

    def __init__(self, batch: int):
        self.batch = batch
        self._state: State = None
        # A network may return views of its tensors, which must not be written into.
        self._owned = False

    def take(self, rows: Sequence[int] | None = None) -> State:
        """The states of some rows, or of all."""
        if rows is None or len(rows) == self.batch:
            return self._state
        index = torch.tensor(list(rows))
        return map_state(lambda tensor: tensor.index_select(0, index.to(tensor.device)), self._state)

    def put(self, state: State, rows: Sequence[int] | None = None) -> None:
        """Replace the states of some rows, or of all."""
        if rows is None or len(rows) == self.batch:
            self._state, self._owned = state, False
            return
        if self._state is None:
            self._state = map_state(lambda new: new.new_zeros(self.batch, *new.shape[1:]), state)
        elif not self._owned:
            self._state = map_state(torch.clone, self._state)
        self._owned = True
        index = torch.tensor(list(rows))
        map_state(lambda old, new: old.index_copy_(0, index.to(old.device), new), self._state, state)

    def hold(self, state: State) -> None:
        """Keep the states of all rows in these tensors, which may be written into."""
        self._state, self._owned = state, True

    def reset(self, rows: Sequence[int]) -> None:
        """Back to silence."""
        if self._state is not None and len(rows):
            self.put(map_state(lambda tensor: torch.zeros_like(tensor[: len(rows)]), self._state), rows)

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the tensors, numbered; empty before the first step."""
        return {str(i): tensor.clone().cpu() for i, tensor in enumerate(tensors_of(self._state))}

    def load_state_dict(self, saved: dict[str, Tensor], template: Callable[[], State]) -> None:
        """Take saved tensors; ``template()`` is a state of this network with ``batch`` rows.

        Raises:
            CodecError: when the tensors are not those of such a state.
        """
        if not saved:
            self._state = None
            return
        self._owned = True
        state = template()
        expected = [tuple(tensor.shape) for tensor in tensors_of(state)]
        names = [str(index) for index in range(len(expected))]
        if sorted(saved) != sorted(names) or [tuple(saved[name].shape) for name in names] != expected:
            raise CodecError("the saved stream is of another model, batch or mode; start a new one")
        tensors = iter([saved[name] for name in names])
        self._state = map_state(lambda old: next(tensors).to(old.device, old.dtype, copy=True), state)
