"""Long signals through a causal network in tiles, so that what its layers hand on stays in the processor's cache.

A layer of full width makes 30 MB of five seconds. Written to memory and read again, it would take as long as it
takes to compute. Layers carry their state from tile to tile as from chunk to chunk of a stream::

    stage 1   tile | tile | tile | tile        each as short as the width at its end allows
    stage 2   tile      | tile                 of all that stage 1 has made
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE = 2**20
"""Numbers in the widest tensor of a tile, some 4 MB."""
_LEAST = 32
"""Least frames of a tile at its end: more than any layer looks back, where a start is mirrored."""


@dataclass(frozen=True)
class Stage:
    """Layers that a tile passes together.

    Attributes:
        layers: of the network, as a slice.
        numbers: in its widest tensor, for each frame that comes in.
        frames: that a tile has a multiple of, as many as make a frame at the stage's end.
    """

    layers: slice
    numbers: int
    frames: int = 1

    def length(self) -> int:
        """Frames of a tile."""
        return max(_LEAST, TILE // (self.numbers * self.frames)) * self.frames


def pay(x: Tensor) -> bool:
    """Whether tiles are worth it: not on a GPU, in training, or in a graph of one shape."""
    return x.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling()


def run_tiled(layers: Any, stages: list[Stage], x: Tensor, state: list[Any] | None) -> tuple[Tensor, list[Any]]:
    """What ``layers(x, state)`` is: ``x (B, C, T)`` and the state of each layer to the same of the output."""
    states = list(state) if state is not None else [None] * len(layers)
    for stage in stages:
        group, parts = list(layers[stage.layers]), []
        states_of_stage = states[stage.layers]
        for tile in x.split(stage.length(), dim=2):
            y = tile
            for index, layer in enumerate(group):
                y, states_of_stage[index] = layer(y, states_of_stage[index])
            parts.append(y)
        states[stage.layers] = states_of_stage
        x = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
    return x, states
