"""Distances between levels, waveforms and spectra; librosa's STFT and mel filterbank."""

import numpy as np

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair

SI_SDR_CEILING = 100.0
LEVEL_LIMIT = 100.0
"""dB beyond which a difference is cut off: what a silent output has."""
_FLOOR = 1e-5
_WINDOWS = (2048, 512, 128)
_SPECTRAL = ("mel", "stft", "log_spectrum", "band_power")
"""Losses on magnitudes: each distance falls with any of them."""


@measure("level")
class LevelDifference(Measure):
    """RMS of the output over that of the recording in dB, whole clips, pauses kept: 0 is right, below too quiet."""

    # Nearer to zero is better, so neither side is.
    columns = (Column("level", "level dB", None, digits=1),)
    resembles = ("level", "band_power")

    def __call__(self, pair: Pair) -> dict[str, float]:
        reference, output = (
            float(np.square(wav, dtype=np.float64).sum()) for wav in (pair.reference, pair.output)
        )
        difference = 10 * np.log10(max(output, 1e-30) / reference)
        return {"level": float(np.clip(difference, -LEVEL_LIMIT, LEVEL_LIMIT))}


@measure("si_sdr")
class SiSdr(Measure):
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), cut off at 100."""

    columns = (Column("si_sdr", "SI-SDR dB", True, digits=1),)
    resembles = ("waveform", "low_waveform")

    def __call__(self, pair: Pair) -> dict[str, float]:
        reference = pair.reference.astype(np.float64) - pair.reference.mean(dtype=np.float64)
        output = pair.output.astype(np.float64) - pair.output.mean(dtype=np.float64)
        target = reference * (output @ reference) / (reference @ reference)
        signal, noise = float(target @ target), float((output - target) @ (output - target))
        floor = 10 ** (-SI_SDR_CEILING / 10)
        ratio = 10 * np.log10(max(signal, 1e-20) / max(noise, signal * floor, 1e-20))
        return {"si_sdr": float(max(ratio, -SI_SDR_CEILING))}


@measure("mel")
class MelDistance(Measure):
    """Mean absolute difference of log10 mel spectra (80 bands, 64 ms windows, 16 ms hops)."""

    columns = (Column("mel", "mel distance", False, digits=3),)
    packages = ("librosa",)
    resembles = _SPECTRAL

    def __call__(self, pair: Pair) -> dict[str, float]:
        return {"mel": float(np.abs(_log_mel(pair.reference) - _log_mel(pair.output)).mean())}


@measure("stft")
class StftDistance(Measure):
    """Mean absolute difference of log10 STFT magnitudes, mean of windows of 128, 32 and 8 ms."""

    columns = (Column("stft", "STFT distance", False, digits=3),)
    packages = ("librosa",)
    resembles = _SPECTRAL

    def __call__(self, pair: Pair) -> dict[str, float]:
        distances = [
            np.abs(_log_stft(pair.reference, window) - _log_stft(pair.output, window)).mean()
            for window in _WINDOWS
        ]
        return {"stft": float(np.mean(distances))}


def _log_mel(wav: np.ndarray) -> np.ndarray:
    from librosa.feature import melspectrogram

    mel = melspectrogram(y=wav, sr=SCORING_RATE, n_fft=1024, hop_length=256, n_mels=80, power=1.0)
    return np.log10(np.maximum(mel, _FLOOR))


def _log_stft(wav: np.ndarray, window: int) -> np.ndarray:
    from librosa import stft

    # Shorter windows collect less amplitude: the floor is that of a full-scale tone, scaled.
    magnitude = np.abs(stft(wav, n_fft=window, hop_length=window // 4)) / window
    return np.log10(np.maximum(magnitude, _FLOOR))
