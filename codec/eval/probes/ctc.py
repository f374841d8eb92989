"""A small recogniser for frozen tokens: embeddings, bidirectional LSTM, CTC over characters."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

MIN_FRAME_RATE = 40.0
"""Slower frames are repeated up to this rate: CTC needs more frames than characters."""


@dataclass(frozen=True)
class CtcConfig:
    """Size and training budget of the recogniser."""

    steps: int = 1000
    batch_size: int = 8
    hidden: int = 128
    """Per direction; 1024 in SLMTokBench."""
    layers: int = 2
    learning_rate: float = 3e-3
    dropout: float = 0.2


@dataclass(frozen=True)
class CtcExample:
    """Tokens ``(K, T)`` and the text they should spell."""

    codes: Tensor
    text: str


class BothWays(nn.Module):
    """A bidirectional LSTM layer over padded clips, each read backwards from its own end.

    It gives what PyTorch's does on packed sequences, and takes an eighth of the time: on a CPU only padded
    batches have a fused kernel.
    """

    def __init__(self, size: int, hidden: int):
        super().__init__()
        self.forwards = nn.LSTM(size, hidden, batch_first=True)
        self.backwards = nn.LSTM(size, hidden, batch_first=True)

    def forward(self, frames: Tensor, back: Tensor) -> Tensor:
        """``(B, T, 2 * hidden)`` of ``frames (B, T, size)``; ``back (B, T)`` are the places of :func:`reversal`."""
        rows = torch.arange(len(frames))[:, None]
        return torch.cat([self.forwards(frames)[0], self.backwards(frames[rows, back])[0][rows, back]], dim=2)


class TokenRecognizer(nn.Module):
    """Characters from codes; the tokens stay as they are, only this network is trained."""

    def __init__(
        self, config: CtcConfig, alphabet: str, num_codebooks: int, codebook_size: int, frame_rate: float
    ):
        super().__init__()
        self.alphabet = alphabet
        self.repeat = max(1, -int(-MIN_FRAME_RATE // frame_rate))
        width = config.hidden
        self.embeddings = nn.ModuleList(nn.Embedding(codebook_size, width) for _ in range(num_codebooks))
        self.dropout = nn.Dropout(config.dropout)
        sizes = [width] + [2 * width] * (config.layers - 1)
        self.layers = nn.ModuleList(BothWays(size, width) for size in sizes)
        self.output = nn.Linear(2 * width, len(alphabet) + 1)

    def forward(self, codes: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities ``(B, T * repeat, characters + 1)``, blank first, of ``codes (B, K, T)``."""
        embedded = sum(layer(codes[:, k]) for k, layer in enumerate(self.embeddings))
        hidden = self.dropout(embedded).repeat_interleave(self.repeat, dim=1)
        back = reversal(lengths * self.repeat, hidden.shape[1])
        for layer in self.layers:
            hidden = self.dropout(layer(hidden, back))
        return self.output(hidden).log_softmax(dim=-1)

    def loss(self, utterances: list[CtcExample]) -> Tensor:
        """Mean CTC loss per character."""
        codes, lengths = _pad([utterance.codes for utterance in utterances])
        targets = [[self.alphabet.index(c) + 1 for c in utterance.text] for utterance in utterances]
        sizes = torch.tensor([len(target) for target in targets])
        scores = self(codes, lengths).transpose(0, 1)
        flat = torch.tensor([index for target in targets for index in target])
        return F.ctc_loss(scores, flat, lengths * self.repeat, sizes, zero_infinity=True)

    @torch.no_grad()
    def transcribe(self, codes: Tensor) -> str:
        """Greedy text of one clip's ``codes (K, T)``."""
        best = self(codes[None], torch.tensor([codes.shape[1]]))[0].argmax(dim=-1)
        kept = torch.unique_consecutive(best)
        return " ".join("".join(self.alphabet[i - 1] for i in kept.tolist() if i > 0).split())


def train_recognizer(
    config: CtcConfig, utterances: list[CtcExample], codebook_size: int, frame_rate: float, seed: int
) -> TokenRecognizer:
    """Train on all ``utterances`` with AdamW and a one-cycle rate; global random state is kept."""
    alphabet = "".join(sorted({character for utterance in utterances for character in utterance.text}))
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = utterances[0].codes.shape[0]
        model = TokenRecognizer(config, alphabet, layers, codebook_size, frame_rate)
        optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=config.learning_rate, total_steps=config.steps + 1
        )
        for _ in range(config.steps):
            batch = rng.integers(len(utterances), size=config.batch_size)
            optimizer.zero_grad()
            model.loss([utterances[i] for i in batch]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return model.eval()


def reversal(lengths: Tensor, longest: int) -> Tensor:
    """Places ``(B, T)`` of frames from each clip's end to its start; padding stays where it is. Its own inverse."""
    places = torch.arange(longest)
    return torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)


def _pad(codes: list[Tensor]) -> tuple[Tensor, Tensor]:
    """``(B, K, T)`` and lengths ``(B,)`` of clips ``(K, T)``."""
    lengths = torch.tensor([code.shape[1] for code in codes])
    return pad_sequence([code.t() for code in codes], batch_first=True).transpose(1, 2), lengths
