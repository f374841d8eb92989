"""The student's ear: log-mel spectrograms of windows of one length."""

import torch
from torch import Tensor, nn

from codec.audio.mel import MelSpectrogram
from codec.students.config import FrontConfig


class LogMel(nn.Module):
    """``log(mel magnitude + floor)``, without weights and without a gradient to the waveform."""

    def __init__(self, config: FrontConfig):
        super().__init__()
        self.floor = config.floor
        self.mel = MelSpectrogram(
            config.sample_rate, config.n_fft, config.hop_length, config.num_mels, config.fmin, config.fmax
        )

    @torch.no_grad()
    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, T)`` to ``(B, 1, num_mels, T / hop)``."""
        return (self.mel(wav) + self.floor).log().transpose(1, 2).unsqueeze(1)


def cut(wav: Tensor, window: int) -> Tensor:
    """Windows that cover a clip: ``(n,)`` samples to ``(ceil(n / window), window)``.

    They are evenly spread and overlap where n is no multiple; a clip shorter than one is repeated, as
    silence would say that it is quiet.
    """
    count = len(wav)
    if count <= window:
        return wav.repeat(-(-window // count))[:window].unsqueeze(0)
    pieces = -(-count // window)
    starts = [round(i * (count - window) / (pieces - 1)) for i in range(pieces)]
    return torch.stack([wav[start : start + window] for start in starts])
