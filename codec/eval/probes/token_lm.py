"""A small language model of tokens, trained from random weights on a fixed budget that no tokenizer can exceed.

A recurrent network reads whole frames. Within a frame, codebook q is predicted from the network's state and the
codes of the codebooks before q, so that the bits of a frame's codes add up to those of the frame (the order of the
layout ``flat``).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from codec.errors import CodecError

_WARM_UP = 50
"""Steps in which the learning rate rises."""


@dataclass(frozen=True)
class TokenLmConfig:
    """Size and training budget; the same for every tokenizer, or figures cannot be compared."""

    steps: int = 600
    """0 leaves the model out, and n-grams alone are counted."""
    batch_size: int = 16
    """Windows of a step."""
    frames: int = 128
    """Of a window."""
    hidden: int = 256
    learning_rate: float = 5e-3
    deep_share: float = 0.125
    """Share of the frames on which codebooks after the first are learned in a step; drawn at random, so that the
    gradient is the same on average."""

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.batch_size, self.frames, self.hidden) < 1 or not 0 < self.deep_share <= 1:
            raise CodecError("probes.lm.model: steps must be 0 or more, sizes 1 or more, deep_share in 0..1")


class TokenLm(nn.Module):
    """Costs of codes, frame by frame, given all frames before.

    Args:
        num_codebooks: of the clips that it is given.
        codebook_size: entries of each.
        hidden: width.
    """

    def __init__(self, num_codebooks: int, codebook_size: int, hidden: int):
        super().__init__()
        self.num_codebooks, self.codebook_size = num_codebooks, codebook_size
        # One more row for what stands before a clip.
        self.past = nn.Embedding(num_codebooks * (codebook_size + 1), hidden)
        self.below = nn.Embedding(max(num_codebooks - 1, 1) * codebook_size, hidden)
        nn.init.normal_(self.past.weight, std=0.5 * hidden**-0.5)
        nn.init.normal_(self.below.weight, std=hidden**-0.5)
        self.enter = nn.LayerNorm(hidden)
        self.memory = nn.GRU(hidden, hidden, batch_first=True)
        self.states = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(num_codebooks))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(num_codebooks))
        self.heads = nn.ModuleList(nn.Linear(hidden, codebook_size) for _ in range(num_codebooks))

    def costs(self, before: Tensor, codes: Tensor, deep: Tensor | None = None) -> Iterator[Tensor]:
        """Nats of each codebook's codes, codebook by codebook.

        Args:
            before: ``(B, K, T)`` the codes of the frame before, ``codebook_size`` where there is none.
            codes: ``(B, K, T)``.
            deep: ``(N,)`` which of the B * T frames are asked for after codebook 0; all by default.
        """
        rows = before + torch.arange(self.num_codebooks)[:, None] * (self.codebook_size + 1)
        state = self.memory(self.enter(self.past(rows).sum(dim=1)))[0].flatten(0, 1)
        frames = codes.transpose(1, 2).flatten(0, 1)
        known = torch.zeros(())
        for q in range(self.num_codebooks):
            if q == 1 and deep is not None:
                state, frames = state[deep], frames[deep]
            if q:
                known = known + self.below(frames[:, q - 1] + (q - 1) * self.codebook_size)
            scores = self.heads[q](F.gelu(self.norms[q](self.states[q](state) + known)))
            yield F.cross_entropy(scores, frames[:, q], reduction="none")

    @torch.no_grad()
    def bits(self, codes: Tensor) -> np.ndarray:
        """``(K,)``: bits of all frames of one clip ``(K, T)``, by codebook."""
        costs = self.costs(_before(codes, self.codebook_size)[None], codes[None])
        return np.array([cost.double().sum().item() for cost in costs]) / math.log(2)


def train_token_lm(config: TokenLmConfig, clips: Sequence[Tensor], codebook_size: int, seed: int) -> TokenLm:
    """Train on windows of the clips ``(K, T)`` with AdamW; global random state is kept.

    Windows may hold the end of a clip and the start of the next one, which is marked.
    """
    codes = torch.cat(list(clips), dim=1)
    before = torch.cat([_before(clip, codebook_size) for clip in clips], dim=1)
    length = min(config.frames, codes.shape[1])
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TokenLm(codes.shape[0], codebook_size, config.hidden)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, config.steps))
    for _ in range(config.steps):
        starts = rng.integers(codes.shape[1] - length + 1, size=config.batch_size)
        windows = [torch.stack([part[:, start : start + length] for start in starts]) for part in (before, codes)]
        total = config.batch_size * length
        deep = torch.from_numpy(rng.choice(total, max(1, round(config.deep_share * total)), replace=False))
        optimizer.zero_grad()
        torch.stack([cost.mean() for cost in model.costs(windows[0], windows[1], deep)]).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _before(codes: Tensor, codebook_size: int) -> Tensor:
    """``(K, T)``: the frame before each."""
    return F.pad(codes[:, :-1], (1, 0), value=codebook_size)


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: rises, then falls as a cosine."""
    return min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))
