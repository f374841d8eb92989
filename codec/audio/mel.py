"""Mel filterbanks and mel spectrograms without librosa or torchaudio."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from codec.audio.spectrum import Spectrum, magnitude
from codec.errors import CodecError

MelScale = Literal["slaney", "htk"]

# Slaney's Auditory Toolbox: linear below 1 kHz (200/3 Hz per mel), logarithmic above.
_SLANEY_HZ_PER_MEL = 200.0 / 3.0
_SLANEY_BREAK_HZ = 1000.0
_SLANEY_BREAK_MEL = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(hz: ArrayLike, scale: MelScale) -> np.ndarray:
    """Frequencies in Hz to mel, by O'Shaughnessy's formula (``htk``) or Slaney's."""
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _SLANEY_BREAK_MEL + np.log(np.maximum(hz, _SLANEY_BREAK_HZ) / _SLANEY_BREAK_HZ) / _SLANEY_LOG_STEP
    return np.where(hz < _SLANEY_BREAK_HZ, hz / _SLANEY_HZ_PER_MEL, above)


def mel_to_hz(mel: ArrayLike, scale: MelScale) -> np.ndarray:
    """Inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _SLANEY_BREAK_HZ * np.exp(_SLANEY_LOG_STEP * np.maximum(mel - _SLANEY_BREAK_MEL, 0.0))
    return np.where(mel < _SLANEY_BREAK_MEL, mel * _SLANEY_HZ_PER_MEL, above)


def mel_filterbank(
    sample_rate: int,
    n_fft: int,
    num_mels: int,
    fmin: float = 0.0,
    fmax: float | None = None,
    scale: MelScale = "slaney",
    slaney_norm: bool = True,
) -> Tensor:
    """Triangular filters over FFT bins.

    Args:
        sample_rate: Hz.
        n_fft: length of the transform.
        num_mels: number of filters.
        fmin: lower edge of the first filter, Hz.
        fmax: upper edge of the last, Hz; half the sample rate by default.
        scale: where filters are equally spaced.
        slaney_norm: divide each filter by its half width in Hz (equal area).

    Returns:
        ``(num_mels, n_fft // 2 + 1)`` float32.

    Raises:
        CodecError: when ``fmin`` and ``fmax`` are not inside 0 to half the sample rate.
    """
    fmax = sample_rate / 2 if fmax is None else fmax
    if not 0 <= fmin < fmax <= sample_rate / 2:
        raise CodecError(f"mel bands need 0 <= fmin < fmax <= {sample_rate / 2}, got {fmin} and {fmax}")
    low, high = hz_to_mel(fmin, scale), hz_to_mel(fmax, scale)
    edges = mel_to_hz(np.linspace(low, high, num_mels + 2), scale)
    bins = np.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    widths = np.diff(edges)[:, None]
    rising = (bins - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - bins) / widths[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if slaney_norm:
        filters *= 2.0 / (edges[2:] - edges[:-2])[:, None]
    return torch.from_numpy(filters.astype(np.float32))


class MelSpectrogram(nn.Module):
    """Mel magnitudes of waveforms, in float32 even under autocast.

    Args:
        sample_rate: Hz.
        n_fft: samples of window and transform.
        hop_length: samples from frame to frame.
        num_mels, fmin, fmax, scale: as in :func:`mel_filterbank`.
    """

    filters: Tensor

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        num_mels: int,
        fmin: float = 0.0,
        fmax: float | None = None,
        scale: MelScale = "slaney",
    ):
        super().__init__()
        self.spectrum = Spectrum(n_fft, hop_length)
        filters = mel_filterbank(sample_rate, n_fft, num_mels, fmin, fmax, scale)
        self.register_buffer("filters", filters.t().contiguous(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, T)`` to ``(B, frames, num_mels)``; ``T / hop`` frames for a multiple of the hop."""
        magnitudes = magnitude(self.spectrum(wav))
        with torch.autocast(wav.device.type, enabled=False):
            return magnitudes @ self.filters


def mel_picture(wavs: Sequence[Tensor], sample_rate: int) -> np.ndarray:
    """Log-mel pictures of waveforms ``(T,)``, the first at the top, low frequencies below.

    Returns:
        ``(height, width, 3)`` uint8; 80 dB below the loudest point of the first is black.
    """
    mel = MelSpectrogram(sample_rate, 1024, 256, 80)
    levels = [20 * mel(wav[None])[0].clamp(min=1e-7).log10().t() for wav in wavs]
    peak = levels[0].max()
    bright = torch.cat([((level - peak) / 80 + 1).clamp(0, 1).flip(0) for level in levels])
    return (bright * 255).round().to(torch.uint8)[:, :, None].expand(-1, -1, 3).contiguous().numpy()
