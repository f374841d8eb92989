"""The predictor of masked tokens, the classification head, and the centre of its teacher."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.pretraining.models.config import Shape
from codec.pretraining.models.transformer import Transformer, initialize, sine_positions
from codec.pretraining.objective.config import CenterOn, ClassesConfig
from codec.train.distributed import all_reduce_sum, world_size


class Predictor(nn.Module):
    """From the tokens that are seen to R hypotheses for each that is not."""

    positions: Tensor

    def __init__(self, shape: Shape, width: int, grid: tuple[int, int], hypotheses: int):
        """
        Args:
            width: of the encoder's vectors.
            grid: rows and columns of tokens.
            hypotheses: R.
        """
        super().__init__()
        self.enter = nn.Linear(width, shape.dim)
        self.mask = nn.Parameter(0.02 * torch.randn(1, 1, shape.dim))
        self.register_buffer("positions", sine_positions(grid, shape.dim), persistent=False)
        self.transformer = Transformer(shape)
        self.leave = nn.ModuleList(nn.Linear(shape.dim, width) for _ in range(hypotheses))
        initialize(self)

    def forward(self, seen: Tensor, order: Tensor, visible: int) -> Tensor:
        """The tokens that are not seen, ``(B, N - V, R, width)``.

        Args:
            seen: ``(B, S + V, width)``, tokens without a place, then the first ``visible`` ones of ``order``.
            order: ``(B, N)``, places of all tokens.
            visible: V.
        """
        hidden = order.shape[1] - visible
        x = self.enter(seen)
        x = torch.cat([x, self.mask.to(x.dtype).expand(len(x), hidden, -1)], dim=1)
        # Attention knows no order but that of the positions, so tokens need not be put back into theirs.
        x = x + F.pad(self.positions[order], (0, 0, x.shape[1] - order.shape[1], 0))
        x = self.transformer(x)[:, -hidden:]
        return torch.stack([leave(x) for leave in self.leave], dim=2)


class ClassHead(nn.Module):
    """Cosines between a token's projection and K learnt directions, each with a gain (DINO's projection head)."""

    def __init__(self, width: int, config: ClassesConfig):
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(width, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.hidden),
            nn.GELU(),
            nn.Linear(config.hidden, config.bottleneck),
        )
        initialize(self)
        self.directions = nn.Parameter(torch.empty(config.count, config.bottleneck))
        nn.init.xavier_uniform_(self.directions)
        self.gains = nn.Parameter(torch.ones(config.count, 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """``(..., width)`` to logits ``(..., K)``."""
        weight = self.gains * F.normalize(self.directions, dim=1)
        return F.linear(F.normalize(self.project(tokens), dim=-1), weight)


class Center(nn.Module):
    """A running mean that is subtracted from the teacher's logits, so that no class takes all tokens.

    As released, MATPAC takes the mean of probabilities; DINO (Caron et al. 2021, arXiv 2104.14294) of logits.
    """

    value: Tensor

    def __init__(self, classes: int, on: CenterOn, momentum: float):
        super().__init__()
        self.on, self.momentum = on, momentum
        self.register_buffer("value", torch.zeros(classes))

    @torch.no_grad()
    def probabilities(self, logits: Tensor, temperature: float) -> Tensor:
        """Centred and sharpened, ``(..., K)`` float32; ``update`` afterwards, for the next step."""
        return ((logits.float() - self.value) / temperature).softmax(dim=-1)

    @torch.no_grad()
    def update(self, logits: Tensor, probabilities: Tensor) -> None:
        """Take in a step's tokens, of all processes."""
        if self.on == "none":
            return
        seen = probabilities if self.on == "probs" else logits
        mean = all_reduce_sum(seen.float().flatten(0, -2).mean(dim=0)) / world_size()
        self.value.lerp_(mean, 1 - self.momentum)
