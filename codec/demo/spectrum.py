"""The demo's mel spectra and their distance."""

import torch
from torch import Tensor

from codec.audio.mel import MelSpectrogram

WINDOW_SECONDS = 0.064
HOP_SECONDS = 0.016
_FLOOR = 1e-5


def log_mel(wav: Tensor, sample_rate: int) -> Tensor:
    """``(T,)`` to log10 mel magnitudes ``(frames, 80)``, floored at -5.

    The clip is padded to whole hops, and to one window at least.
    """
    window, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    samples = max(window, len(wav) + -len(wav) % hop)
    padded = torch.nn.functional.pad(wav, (0, samples - len(wav)))
    mel = MelSpectrogram(sample_rate, window, hop, num_mels=80)
    return mel(padded.unsqueeze(0))[0].clamp(min=_FLOOR).log10()


def mel_distance(reference: Tensor, output: Tensor) -> float:
    """Mean absolute difference of two log mel spectra of one shape."""
    return float((reference - output).abs().mean())
