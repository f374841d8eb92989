"""Hum: modulation of the level at multiples of a frame rate, which windows of 16 ms and more do not see."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codec.eval.measures.base import Column, Measure
from codec.eval.measures.registry import measure
from codec.eval.types import SCORING_RATE, Pair, Skip

HUM_FREQUENCIES = (50, 100, 150, 200)
"""Hz: the multiples of the commonest frame rate of speech tokenizers."""
_STEP_SECONDS = 0.002
"""Seconds between two values of the envelope."""
_CROSSOVER = 1500.0
_FLOOR = 1e-4
_NEIGHBOURS = (5, 12)
"""Distances in Hz, from and to, of the neighbours that a peak is compared with."""


@dataclass(frozen=True)
class Peak:
    """Mean power of a modulation frequency (3 bins) and of its neighbours (16 bins)."""

    power: float
    neighbours: float

    @property
    def prominence(self) -> float:
        """Decibels of the peak over its neighbours."""
        return float(10 * np.log10(self.power / self.neighbours))


def modulation_spectrum(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power spectrum of the logarithm of the level above 1.5 kHz, summed over windows of one second.

    Args:
        wav: ``(T,)`` of a second or more.
        sample_rate: Hz, a multiple of 500.

    Returns:
        ``(251,)`` in bins of 1 Hz.
    """
    from scipy.signal import butter, sosfilt

    high = sosfilt(butter(6, _CROSSOVER, "highpass", fs=sample_rate, output="sos"), wav)
    step = round(_STEP_SECONDS * sample_rate)
    level = np.sqrt(np.square(high[: len(high) // step * step].reshape(-1, step)).mean(axis=1))
    level = np.log(level + _FLOOR)
    size = round(1 / _STEP_SECONDS)
    windows = np.lib.stride_tricks.sliding_window_view(level, size)[:: size // 2]
    windows = (windows - windows.mean(axis=1, keepdims=True)) * np.hanning(size)
    return np.square(np.abs(np.fft.rfft(windows))).sum(axis=0)


def find_peak(spectrum: np.ndarray, frequency: float) -> Peak:
    """The peak at a frequency of 13 to 238 Hz of a :func:`modulation_spectrum`."""
    place, (near, far) = round(frequency), _NEIGHBOURS
    neighbours = np.r_[spectrum[place - far : place - near + 1], spectrum[place + near : place + far + 1]]
    return Peak(float(spectrum[place - 1 : place + 2].mean()), float(neighbours.mean()))


@measure("hum")
class Hum(Measure):
    """Modulation of the log level above 1.5 kHz at 50 to 200 Hz.

    It is in dB over the power 5 to 12 Hz away, so 0 means no hum.
    """

    columns = tuple(Column(f"hum_{f}", f"hum {f} Hz dB", False, digits=1) for f in HUM_FREQUENCIES)
    packages = ("scipy",)
    resembles = ("hum",)
    intrusive = False

    def __call__(self, pair: Pair) -> dict[str, float]:
        if len(pair.output) < SCORING_RATE:
            raise Skip("shorter than the second that a window of the envelope lasts")
        if not pair.output.any():
            raise Skip("the output is silent")
        spectrum = modulation_spectrum(pair.output, SCORING_RATE)
        values: dict[str, float] = {}
        for frequency in HUM_FREQUENCIES:
            peak = find_peak(spectrum, frequency)
            name = f"hum_{frequency}"
            values |= {name: peak.prominence, f"{name}_power": peak.power, f"{name}_beside": peak.neighbours}
        return values

    def pool(self, column: str, values: dict[str, np.ndarray], weights: np.ndarray) -> np.ndarray:
        """Prominence in the spectrum over all windows of the set, not the mean of the clips' prominences."""
        power, neighbours = (weights @ values[f"{column}_{part}"] for part in ("power", "beside"))
        return 10 * np.log10(power / neighbours)


def prominences(spectrum: np.ndarray, frequencies: Sequence[float]) -> list[float]:
    """Decibels of each frequency over its neighbours in a :func:`modulation_spectrum`."""
    return [find_peak(spectrum, frequency).prominence for frequency in frequencies]
