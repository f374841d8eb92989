"""Delay between a reference and a codec's output: found, removed, reported."""

from dataclasses import dataclass

import numpy as np
from scipy.signal import correlate, correlation_lags

from codec.eval.options import MAX_DELAY_SECONDS, Method
from codec.eval.types import Skip

LENGTH_TOLERANCE_SECONDS = 0.1
WEAK_CORRELATION = 0.3
"""Below this the waveforms share too little phase to be aligned."""
# Codecs lag. One that seems to lead by more than rounding is believed only on strong evidence.
_MAX_LEAD_SECONDS = 0.005
_ENVELOPE_SECONDS = 0.010


@dataclass(frozen=True)
class Delay:
    """The delay of an output behind its reference.

    Attributes:
        samples: negative when it leads.
        correlation: of the waveforms at that lag, -1 to 1.
    """

    samples: int
    correlation: float


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
    reference: np.ndarray,
    output: np.ndarray,
    sample_rate: int,
    max_delay: float = MAX_DELAY_SECONDS,
    method: Method = "waveform",
) -> Delay:
    """Delay of ``output (T2,)`` against ``reference (T1,)``: the peak of their cross-correlation.

    Vocoders that keep no phase correlate weakly, and the peak may be a pitch period or more off.

    Args:
        reference: samples.
        output: samples.
        sample_rate: Hz of both.
        max_delay: seconds, either way.
        method: what to do when the peak is below :data:`WEAK_CORRELATION`: keep it (``waveform``), or
            match the signals' envelopes instead (``envelope``).
    """
    limit = round(max_delay * sample_rate)
    best = _correlation_peak(reference, output, limit, limit)
    if best.correlation >= WEAK_CORRELATION:
        return best
    lead = min(limit, round(_MAX_LEAD_SECONDS * sample_rate))
    if method == "waveform":
        return _correlation_peak(reference, output, lead, limit)
    matched = _correlation_peak(
        _envelope(reference, sample_rate), _envelope(output, sample_rate), lead, limit
    )
    return Delay(matched.samples, best.correlation)


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


def _correlation_peak(reference: np.ndarray, output: np.ndarray, lead: int, lag: int) -> Delay:
    """The largest normalised correlation from ``-lead`` to ``lag`` samples."""
    norm = float(np.linalg.norm(reference) * np.linalg.norm(output))
    if norm == 0.0:
        return Delay(0, 0.0)
    correlation = correlate(output, reference, method="fft")
    lags = correlation_lags(len(output), len(reference))
    inside = (lags >= -lead) & (lags <= lag)
    peak = int(np.argmax(correlation[inside]))
    return Delay(int(lags[inside][peak]), float(correlation[inside][peak]) / norm)


def _envelope(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean-free smoothed level in decibels, limited to 50 dB below its peak."""
    window = np.hanning(round(_ENVELOPE_SECONDS * sample_rate) + 2)
    power = np.convolve(wav.astype(np.float64) ** 2, window / window.sum(), mode="same")
    level = 10 * np.log10(np.maximum(power, max(power.max(), 1e-20) * 1e-5))
    return level - level.mean()
