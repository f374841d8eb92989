"""Causal STFT and its inverse by overlap-add, as functions of (input, state).

With hop H and window 2H, analysis frame h covers samples ``[(h-1)H, (h+1)H)``: it ends where its
hop ends. Synthesis frame h finishes samples ``[(h-1)H, hH)``, so the output lags by one hop::

    samples   |--- hop 0 ---|--- hop 1 ---|--- hop 2 ---|
    frame 0  zeros .. hop 0
    frame 1   hop 0 ........... hop 1                       -> finishes hop 0
    frame 2                 hop 1 ........... hop 2         -> finishes hop 1
"""

import torch
from torch import Tensor, nn


class _Windowed(nn.Module):
    """Sizes and window of analysis and synthesis."""

    window: Tensor

    def __init__(self, window_length: int, hop_length: int):
        super().__init__()
        self.hop_length = hop_length
        self.window_length = window_length
        self.register_buffer("window", sqrt_hann(window_length), persistent=False)


class CausalSTFT(_Windowed):
    """Square-root-Hann frames of a waveform, each ending with its hop."""

    def forward(self, wav: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """``wav (B, n * hop)`` to ``(spectrum (B, n, bins) complex, last window - hop samples)``."""
        context = self.window_length - self.hop_length
        if state is None:
            state = wav.new_zeros(wav.shape[0], context)
        wav = torch.cat([state, wav], dim=1)
        frames = wav.unfold(1, self.window_length, self.hop_length)
        return torch.fft.rfft(frames * self.window), wav[:, wav.shape[1] - context :]


class CausalISTFT(_Windowed):
    """Overlap-add of square-root-Hann frames; its state is the unfinished hop."""

    def forward(
        self, spectrum: Tensor, state: Tensor | None = None, added: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """``spectrum (B, n, bins)`` complex to ``(wav (B, n * hop)``, lagging one hop, tail)``.

        Args:
            added: ``(B, n, window)`` windowed frames that join those of the spectrum.
        """
        frames = torch.fft.irfft(spectrum, n=self.window_length) * self.window
        if added is not None:
            frames = frames + added
        first, second = frames.split(self.hop_length, dim=2)
        if state is None:
            state = second.new_zeros(second.shape[0], self.hop_length)
        overlap = torch.cat([state.unsqueeze(1), second], dim=1)
        wav = (first + overlap[:, :-1]).flatten(1)
        return wav, overlap[:, -1]


def sqrt_hann(length: int) -> Tensor:
    """Periodic square-root Hann window ``(length,)``: its squares at half overlap sum to one."""
    return torch.hann_window(length, periodic=True, dtype=torch.float64).sqrt().float()
