"""Causal ConvNeXt blocks over frames; each is one function of (input, state)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BackboneState = list[Tensor]

MIN_ROWS = 4
"""Matrix products of fewer rows run through other kernels, which round differently; from here on a
frame comes out the same to the last bit, alone as among others (docs/streaming.md)."""


class CausalDepthwiseConv(nn.Module):
    """One filter per channel over this frame and the ``kernel_size - 1`` before.

    Its state is those earlier frames, zeros at the start of a signal.
    """

    def __init__(self, dim: int, kernel_size: int):
        super().__init__()
        self.context = kernel_size - 1
        self.conv = nn.Conv1d(dim, dim, kernel_size, groups=dim)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x (B, T, C)`` and earlier frames ``(B, kernel_size - 1, C)`` to ``(B, T, C)``, state."""
        if state is None:
            state = x.new_zeros(x.shape[0], self.context, x.shape[2])
        x = torch.cat([state, x], dim=1)
        y = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return y, x[:, x.shape[1] - self.context :]


class ConvNeXtBlock(nn.Module):
    """ConvNeXt block (Liu et al. 2022) in one dimension: mix over time, then over channels.

    One that ``looks_ahead`` adds what the convolution sees up to a frame to the frame before, and so lags by one.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int, scale: float, looks_ahead: bool = False):
        super().__init__()
        self.looks_ahead = looks_ahead
        self.mix = CausalDepthwiseConv(dim, kernel_size)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden_dim)
        self.project = nn.Linear(hidden_dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``x (B, T, C)`` to ``(B, T, C)`` and the convolution's state."""
        y, following = self.mix(x, state)
        y = self.project(F.gelu(self.expand(self.norm(y))))
        if self.looks_ahead:
            before = x.new_zeros(x.shape[0], 1, x.shape[2]) if state is None else state[:, -1:]
            x = torch.cat([before, x[:, :-1]], dim=1)
        return x + self.scale * y, following

    def pass_on(self) -> None:
        """Make it the identity; its last layer, now zero, is the first to learn."""
        with torch.no_grad():
            self.project.weight.zero_()
            self.project.bias.zero_()


class Backbone(nn.Module):
    """Linear in, a stack of ConvNeXt blocks, norm and linear out.

    Its last ``look_ahead`` blocks look ahead by a frame each. A network that gets such blocks on top begins as it was,
    only later.
    """

    def __init__(
        self,
        in_dim: int,
        dim: int,
        out_dim: int,
        layers: int,
        expansion: int,
        kernel_size: int,
        look_ahead: int = 0,
    ):
        super().__init__()
        self.embed = nn.Linear(in_dim, dim)
        self.embed_norm = nn.LayerNorm(dim)
        # Small residual branches at the start keep a deep stack close to the identity.
        scale = 1.0 / layers
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(dim, expansion * dim, kernel_size, scale, looks_ahead=number >= layers - look_ahead)
            for number in range(layers)
        )
        self.norm = nn.LayerNorm(dim)
        self.out = nn.Linear(dim, out_dim)

    def forward(self, x: Tensor, state: BackboneState | None = None) -> tuple[Tensor, BackboneState]:
        """``x (B, T, in_dim)`` to ``(B, T, out_dim)`` and one state per block."""
        y, _, state = self.tapped(x, state, 0)
        return y, state

    def tapped(
        self, x: Tensor, state: BackboneState | None, tap: int
    ) -> tuple[Tensor, Tensor, BackboneState]:
        """As a call, with the output ``(B, T, dim)`` of the first ``tap`` blocks in between."""
        states = state if state is not None else [None] * len(self.blocks)
        x = inside = self.embed_norm(self.embed(x))
        new_state = []
        for count, (block, block_state) in enumerate(zip(self.blocks, states, strict=True), start=1):
            x, following = block(x, block_state)
            new_state.append(following)
            inside = x if count == tap else inside
        return self.out(self.norm(x)), inside, new_state
