"""Activations, residual block and LSTM; each is one function of (input, state)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.model.seanet.config import SeanetConfig
from codec.model.seanet.convolutions import Conv

LSTMState = tuple[Tensor, Tensor]
_LSTM_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class StatefulSequential(nn.Sequential):
    """Layers in a row; the state is the list of theirs."""

    def forward(self, x: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        states = state if state is not None else [None] * len(self)
        new_state = []
        for layer, layer_state in zip(self, states, strict=True):
            x, following = layer(x, layer_state)
            new_state.append(following)
        return x, new_state


class ELU(nn.Module):
    """Exponential linear unit, without state."""

    def __init__(self, in_place: bool = False):
        super().__init__()
        self.in_place = in_place

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        return F.elu(x, inplace=self.in_place), None


def snake(x: Tensor, alpha: Tensor) -> Tensor:
    """``x + sin(a x)^2 / a`` (Ziyin et al. 2020)."""
    if torch.is_grad_enabled():
        return x + torch.sin(alpha * x).square() / (alpha + 1e-9)
    # The same numbers in one tensor: new memory takes longer than the arithmetic.
    return (alpha * x).sin_().square_().div_(alpha + 1e-9).add_(x)


class Snake(nn.Module):
    """:func:`snake` with ``a`` learned per channel, without state."""

    def __init__(self, dim: int):
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, dim, 1))

    def forward(self, x: Tensor, state: None = None) -> tuple[Tensor, None]:
        """``x (B, C, T)`` to the same shape."""
        return snake(x, self.alpha), None


def activation(config: SeanetConfig, dim: int, in_place: bool = True) -> nn.Module:
    """The configured activation for ``dim`` channels; ``in_place`` where nobody else reads its input."""
    return Snake(dim) if config.activation == "snake" else ELU(in_place)


def convolution(config: SeanetConfig, in_dim: int, out_dim: int, kernel_size: int, **settings: int) -> Conv:
    """A convolution with the configured causality and edges."""
    mirrored = config.edges == "mirror"
    return Conv(in_dim, out_dim, kernel_size, causal=config.causal, mirrored=mirrored, **settings)


class ResidualBlock(nn.Module):
    """Narrow dilated convolution and a pointwise one, added to a shortcut."""

    def __init__(self, config: SeanetConfig, dim: int, dilation: int):
        super().__init__()
        hidden = dim // config.compress
        self.block = StatefulSequential(
            activation(config, dim, in_place=False),
            convolution(config, dim, hidden, config.residual_kernel_size, dilation=dilation),
            activation(config, hidden),
            convolution(config, hidden, dim, kernel_size=1),
        )
        self.shortcut = None
        if config.shortcut == "convolution":
            self.shortcut = convolution(config, dim, dim, kernel_size=1)

    def forward(self, x: Tensor, state: list[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """``x (B, C, T)`` to the same shape and the block's state; the shortcut needs none."""
        y, state = self.block(x, state)
        return y.add_(x if self.shortcut is None else self.shortcut(x)[0]), state


def residual_blocks(config: SeanetConfig, dim: int) -> list[nn.Module]:
    """One stage's residual blocks, with growing dilation."""
    return [
        ResidualBlock(config, dim, dilation=config.dilation_base**index)
        for index in range(config.n_residual_layers)
    ]


class LSTM(nn.Module):
    """LSTM with a skip connection; reading both ways, it doubles the channels."""

    def __init__(self, dim: int, layers: int, bidirectional: bool):
        super().__init__()
        self.bidirectional = bidirectional
        self.lstm = nn.LSTM(dim, dim, layers, bidirectional=bidirectional)

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState | None]:
        """``x (B, C, T)`` to ``(B, C or 2C, T)`` and the state, ``None`` when bidirectional.

        The state is two tensors ``(B, layers, C)``: as everywhere, the batch comes first.
        """
        if state is not None:
            state = (_swap(state[0]), _swap(state[1]))
            if x.shape[2] == 1 and x.device.type == "cpu" and not torch.compiler.is_compiling():
                return self._one_frame(x, state)
        y, (hidden, cell) = self.lstm(x.permute(2, 0, 1), state)
        y = y.permute(1, 2, 0)
        if self.bidirectional:
            return y + torch.cat([x, x], dim=1), None
        return y + x, (_swap(hidden), _swap(cell))


    def _one_frame(self, x: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """The same for a frame of a stream, for which oneDNN would bring all weights to another form first."""
        y, hidden, cell = x.squeeze(2), [], []
        for layer, before in enumerate(zip(*state, strict=True)):
            weights = [getattr(self.lstm, f"{kind}_l{layer}") for kind in _LSTM_WEIGHTS]
            y, after = torch.lstm_cell(y, before, *weights)
            hidden.append(y)
            cell.append(after)
        return y.unsqueeze(2) + x, (torch.stack(hidden, dim=1), torch.stack(cell, dim=1))


def _swap(state: Tensor) -> Tensor:
    """Batch first to layers first, or back."""
    return state.transpose(0, 1).contiguous()
