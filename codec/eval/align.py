"""Delay between a reference and a codec's output: found, removed, reported."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate, correlation_lags

from codec.eval.types import Skip

MAX_DELAY_SECONDS = 0.25
LENGTH_TOLERANCE_SECONDS = 0.1
# Below this the waveforms share no phase (parametric codecs) and only their envelopes can be matched.
_WEAK_CORRELATION = 0.3
_ENVELOPE_SECONDS = 0.010


@dataclass(frozen=True)
class Aligned:
    """Two signals on one time axis.

    Attributes:
        reference: ``(T,)`` what is left of the reference: at most the delay is cut off its ends.
        output: ``(T,)``.
        delay: samples by which the output lagged; negative when it led.
    """

    reference: np.ndarray
    output: np.ndarray
    delay: int


def find_delay(
    reference: np.ndarray, output: np.ndarray, sample_rate: int, max_delay: float = MAX_DELAY_SECONDS
) -> int:
    """Samples by which ``output (T2,)`` lags ``reference (T1,)``, within ``max_delay`` seconds.

    The peak of the waveforms' cross-correlation; where that is weak, of their envelopes'.
    """
    limit = round(max_delay * sample_rate)
    delay, strength = _correlation_peak(reference, output, limit)
    if strength >= _WEAK_CORRELATION:
        return delay
    return _correlation_peak(_envelope(reference, sample_rate), _envelope(output, sample_rate), limit)[0]


def remove_delay(reference: np.ndarray, output: np.ndarray, delay: int, sample_rate: int) -> Aligned:
    """Shift ``output`` by ``-delay`` samples and keep what both signals cover.

    Raises:
        Skip: when the lengths differ by more than the delay and :data:`LENGTH_TOLERANCE_SECONDS`.
    """
    missing = len(reference) - len(output)
    if missing - abs(delay) > LENGTH_TOLERANCE_SECONDS * sample_rate:
        raise Skip(f"the output is {missing / sample_rate:.2f} s shorter than the reference")
    if -missing - abs(delay) > (LENGTH_TOLERANCE_SECONDS + MAX_DELAY_SECONDS) * sample_rate:
        raise Skip(f"the output is {-missing / sample_rate:.2f} s longer than the reference")
    reference = reference[max(-delay, 0) :]
    output = output[max(delay, 0) :]
    length = min(len(reference), len(output))
    return Aligned(reference[:length], output[:length], delay)


def _correlation_peak(reference: np.ndarray, output: np.ndarray, limit: int) -> tuple[int, float]:
    """Lag of the largest normalised correlation within ``limit``, and its value."""
    norm = float(np.linalg.norm(reference) * np.linalg.norm(output))
    if norm == 0.0:
        return 0, 0.0
    correlation = correlate(output, reference, method="fft")
    lags = correlation_lags(len(output), len(reference))
    inside = np.abs(lags) <= limit
    peak = int(np.argmax(correlation[inside]))
    return int(lags[inside][peak]), float(correlation[inside][peak]) / norm


def _envelope(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean-free smoothed level in decibels, limited to 50 dB below its peak."""
    window = np.hanning(round(_ENVELOPE_SECONDS * sample_rate) + 2)
    power = np.convolve(wav.astype(np.float64) ** 2, window / window.sum(), mode="same")
    level = 10 * np.log10(np.maximum(power, max(power.max(), 1e-20) * 1e-5))
    return level - level.mean()
