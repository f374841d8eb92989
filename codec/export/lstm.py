"""An LSTM as one operation of a graph: PyTorch's exporter would write it out, frame by frame of its example."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from onnxscript.function_libs.torch_lib.ops.core import aten_lstm
from torch import Tensor, nn

States = tuple[Tensor, Tensor]


# Written out, since PyTorch before 2.7 does not derive it from list[Tensor].
_SCHEMA = "(Tensor x, Tensor hidden, Tensor cell, Tensor[] weights) -> (Tensor, Tensor, Tensor)"


@torch.library.custom_op("codec::lstm", mutates_args=(), schema=_SCHEMA)
def lstm(x: Tensor, hidden: Tensor, cell: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """``torch.lstm`` that reads one way: ``x (T, B, C)`` and states ``(layers, B, C)`` to the same shapes.

    Args:
        weights: of each layer those of input and state and both biases.
    """
    layers = len(weights) // 4
    return torch.lstm(x, (hidden, cell), weights, True, layers, 0.0, False, False, False)


@lstm.register_fake
def _shapes(x: Tensor, hidden: Tensor, cell: Tensor, weights: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    assert weights, "an LSTM without layers"
    return x.new_empty(x.shape[0], x.shape[1], hidden.shape[2]), torch.empty_like(hidden), torch.empty_like(cell)


def _to_onnx(x: Any, hidden: Any, cell: Any, weights: Sequence[Any]) -> Any:
    """The operation of ONNX, whose gates have another order."""
    return aten_lstm(x, [hidden, cell], weights, True, len(weights) // 4, 0.0, False, False, False)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.codec.lstm.default: _to_onnx}
"""For :func:`torch.onnx.export`."""


@contextmanager
def whole_lstms(module: nn.Module) -> Iterator[None]:
    """While it lasts, every LSTM of ``module`` that reads one way is this one operation."""
    found = [part for part in module.modules() if isinstance(part, nn.LSTM) and not part.bidirectional]
    for part in found:
        part.forward = partial(_forward, part)  # type: ignore[assignment, method-assign]
    try:
        yield
    finally:
        for part in found:
            del part.forward  # that of the class shows again


def _forward(module: nn.LSTM, x: Tensor, states: States | None = None) -> tuple[Tensor, States]:
    weights = [getattr(module, name) for layer in module._all_weights for name in layer]
    if states is None:
        zeros = x.new_zeros(module.num_layers, x.shape[1], module.hidden_size)
        states = zeros, zeros
    y, hidden, cell = lstm(x, *states, weights)
    return y, (hidden, cell)
