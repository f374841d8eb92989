"""A small recogniser on top of an encoder's frames, trained with CTC (Graves et al. 2006)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from codec.asr.alphabet import frames_needed
from codec.errors import CodecError


@dataclass(frozen=True)
class CtcHeadConfig:
    """Size of the recogniser. Speech-FT has three layers of 256 and a dropout of 0.2."""

    hidden: int = 256
    """Width, and that of each direction of the LSTM."""
    layers: int = 2
    """Of the bidirectional LSTM; 0 makes the head linear."""
    dropout: float = 0.2
    repeat: int = 1
    """Outputs for each frame: CTC needs more of them than there are characters, about 15 a second."""

    def __post_init__(self) -> None:
        if self.hidden < 1 or self.layers < 0 or self.repeat < 1 or not 0 <= self.dropout < 1:
            raise CodecError("config head: hidden and repeat must be >= 1, layers >= 0 and dropout in [0, 1)")


class CtcHead(nn.Module):
    """Frames ``(B, T, D)`` to log-probabilities of labels: a projection, a bidirectional LSTM, a projection.

    Frames after a clip's end change nothing, in whatever batch it is.
    """

    def __init__(self, dim: int, labels: int, config: CtcHeadConfig):
        """
        Args:
            dim: width of the frames.
            labels: number of labels with the blank.
            config: size.
        """
        super().__init__()
        self.repeat = config.repeat
        self.project = nn.Linear(dim, config.hidden)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = None
        width = config.hidden
        if config.layers:
            between = config.dropout if config.layers > 1 else 0.0
            self.lstm = nn.LSTM(width, width, config.layers, batch_first=True, bidirectional=True, dropout=between)
            width = 2 * width
        self.output = nn.Linear(width, labels * config.repeat)

    def forward(self, frames: Tensor, lengths: Tensor) -> Tensor:
        """Log-probabilities ``(B, T * repeat, labels)``, blank first.

        Args:
            frames: ``(B, T, D)``, zero or anything after a clip's end.
            lengths: ``(B,)`` frames of each clip, at least 1.
        """
        hidden = self.dropout(self.project(frames))
        if self.lstm is not None:
            packed = pack_padded_sequence(hidden, lengths.cpu(), True, enforce_sorted=False)
            hidden, _ = pad_packed_sequence(self.lstm(packed)[0], True, total_length=frames.shape[1])
        scores: Tensor = self.output(self.dropout(hidden))
        return scores.unflatten(2, (self.repeat, -1)).flatten(1, 2).float().log_softmax(dim=-1)


@dataclass(frozen=True)
class CtcClips:
    """CTC of each clip of a batch.

    Attributes:
        values: ``(B,)``, ``-log p(text) / characters``; 0 where it does not count.
        counts: ``(B,)`` bool.
        skipped: clips with a text that cannot be learned, for its letters or its length.
    """

    values: Tensor
    counts: Tensor
    skipped: int


def ctc_of_clips(scores: Tensor, lengths: Tensor, labels: list[list[int] | None], spoken: list[bool]) -> CtcClips:
    """CTC of clips whose text fits into their frames.

    Args:
        scores: ``(B, T, labels)`` log-probabilities.
        lengths: ``(B,)`` of them that each clip has.
        labels: of each clip's text; ``None`` where it has none that can be learned.
        spoken: whether each clip has a text at all.
    """
    room = lengths.tolist()
    usable = [bool(text) and frames_needed(text or []) <= size for text, size in zip(labels, room, strict=True)]
    # A clip without a text still needs a target, and gets one that its frames can spell.
    targets = [text if good and text else [1] for text, good in zip(labels, usable, strict=True)]
    sizes = torch.tensor([len(target) for target in targets])
    flat = torch.tensor([label for target in targets for label in target], device=scores.device)
    values = F.ctc_loss(scores.transpose(0, 1), flat, lengths.cpu(), sizes, reduction="none")
    counts = torch.tensor(usable, device=scores.device)
    values = (values / sizes.to(scores.device)).masked_fill(~counts, 0.0)
    return CtcClips(values, counts, sum(text and not good for text, good in zip(spoken, usable, strict=True)))
