"""Short-time Fourier transform of whole clips, for losses and discriminators."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spectrum(nn.Module):
    """STFT with a periodic Hann window as long as the FFT, in float32 even under autocast.

    With ``center`` the clip is extended by reflection so that T samples, a multiple of the hop,
    give ``T / hop`` frames; without it only whole windows inside the clip count.

    Args:
        n_fft: samples of window and transform.
        hop_length: samples from frame to frame.
        center: extend the clip by reflection, ``(n_fft - hop) / 2`` on each side.
        normalized: divide by the root of the window's energy, so that white noise of variance 1
            has bins of mean power 1 whatever ``n_fft`` is.
    """

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, center: bool = True, normalized: bool = False):
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.padding = (n_fft - hop_length) // 2 if center else 0
        window = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
        if normalized:
            window = window / window.square().sum().sqrt()
        self.register_buffer("window", window.float(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """``wav (B, T)`` to complex ``(B, frames, n_fft // 2 + 1)``.

        Raises:
            ValueError: for a clip too short for one frame or for its reflection.
        """
        if wav.ndim != 2 or wav.shape[1] <= self.padding or wav.shape[1] + 2 * self.padding < self.n_fft:
            raise ValueError(
                f"expected clips (B, T) of at least {self.n_fft} samples, got {tuple(wav.shape)}"
            )
        wav = wav.float()
        if self.padding:
            wav = F.pad(wav.unsqueeze(1), (self.padding, self.padding), mode="reflect").squeeze(1)
        # unfold and rfft have a faster backward on the CPU than torch.stft.
        return RealFFT.apply(wav.unfold(1, self.n_fft, self.hop_length) * self.window)


class RealFFT(torch.autograd.Function):
    """``torch.fft.rfft`` of the last axis with a cheaper backward.

    torch's own pads the gradient to the full spectrum for a complex transform of twice the work.
    """

    @staticmethod
    def forward(ctx: Any, frames: Tensor) -> Tensor:
        """``(..., n)`` to complex ``(..., n // 2 + 1)``."""
        ctx.length = frames.shape[-1]
        return torch.fft.rfft(frames)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # d L / d x_n = Re sum_k G_k e^{2 pi i k n / N} over the kept half; irfft counts the bins
        # that have a mirror image twice.
        scale = torch.full(gradient.shape[-1:], 0.5, dtype=gradient.real.dtype, device=gradient.device)
        scale[:1].fill_(1.0)
        if ctx.length % 2 == 0:
            scale[-1:].fill_(1.0)
        return torch.fft.irfft(gradient * scale, n=ctx.length, norm="forward")


def real_and_imag(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Both parts of a complex tensor; the backward of ``.real`` and ``.imag`` would fill zeros."""
    real, imag = torch.view_as_real(spectrum).unbind(dim=-1)
    return real, imag


def squared_magnitude(spectrum: Tensor) -> Tensor:
    """``|X|^2`` of a complex tensor, with a gradient that is zero and finite at ``X = 0``."""
    real, imag = real_and_imag(spectrum)
    return torch.addcmul(real * real, imag, imag)


def magnitude(spectrum: Tensor) -> Tensor:
    """``|X|`` of a complex tensor, at least 120 dB below full scale: its slope is finite at ``X = 0``."""
    return (squared_magnitude(spectrum) + 1e-12).sqrt()


@dataclass
class CompressedSpectrum:
    """Real tensors of one shape: parts of the compressed spectrum, and its magnitude."""

    real: Tensor
    imag: Tensor
    magnitude: Tensor


def power_compress(spectrum: Tensor, exponent: float, floor: float) -> CompressedSpectrum:
    """Power-law compression ``|X|^c e^{j phi}`` (Braun and Tashev 2021, arXiv 2009.12286).

    The power is floored smoothly, ``|X|^2 + floor^2``: the slope of ``|X|^c`` at zero is infinite
    for ``c < 1``, and digital silence is common.

    Args:
        spectrum: complex, any shape.
        exponent: c, in (0, 1].
        floor: magnitude below which the compression turns linear; above 0 for ``c < 1``.
    """
    real, imag = real_and_imag(spectrum)
    power = torch.addcmul(real * real, imag, imag) + floor**2
    magnitude = power ** (exponent / 2)
    gain = magnitude * power.rsqrt()
    return CompressedSpectrum(real * gain, imag * gain, magnitude)
