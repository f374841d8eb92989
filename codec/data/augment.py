"""Augmentation of crops: what happens is drawn with the crop, so it is a function of (seed, step, slot)."""

from dataclasses import dataclass

import numpy as np
import soxr

from codec.errors import CodecError


@dataclass(frozen=True)
class AugmentationConfig:
    """Probabilities (``*_probability``, all 0 by default) and ranges of each change to a crop."""

    speed_probability: float = 0.0
    speed_range: float = 0.12
    """Largest relative change of rate and pitch, by resampling."""
    gain_probability: float = 0.0
    gain_min_db: float = -15.0
    gain_max_db: float = 6.0
    """Upward gain stops where the peak would clip."""
    eq_probability: float = 0.0
    eq_range_db: float = 6.0
    noise_probability: float = 0.0
    noise_min_snr_db: float = 15.0
    noise_max_snr_db: float = 40.0
    noise_max_slope_db: float = 0.0
    """Steepest fall of the noise's spectrum, in dB per octave: 0 for white noise only, 6 for white to brown."""
    reverb_probability: float = 0.0
    reverb_max_seconds: float = 0.6
    """Longest decay time (60 dB)."""
    reverb_max_wet: float = 0.5
    """Largest energy of the tail relative to the direct sound."""
    music_probability: float = 0.0
    """Mixes in a crop of the domain ``music`` of the manifests."""
    music_min_snr_db: float = 5.0
    music_max_snr_db: float = 25.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name.endswith("probability") and not 0 <= value <= 1:
                raise CodecError(f"config data.augmentation.{name}: {value} is not a probability (0 to 1)")
        if not 0 <= self.speed_range < 1:
            raise CodecError(f"config data.augmentation.speed_range: {self.speed_range} must lie in [0, 1)")
        if not 0 <= self.noise_max_slope_db <= 24:
            raise CodecError(f"config data.augmentation.noise_max_slope_db: {self.noise_max_slope_db} is not 0 to 24")


@dataclass(frozen=True)
class Augmentation:
    """The changes drawn for one crop; ``None`` leaves that property alone.

    Attributes:
        speed: source seconds per second of crop.
        gain_db: level change.
        eq_db: gains at log-spaced frequencies.
        noise_snr_db: of the added noise.
        noise_slope_db: fall of its spectrum, dB per octave.
        reverb: decay time in seconds and energy of the tail.
        music_snr_db: of the mixed-in music.
        seed: of the noise and the reverberation's tail.
    """

    speed: float = 1.0
    gain_db: float | None = None
    eq_db: tuple[float, ...] | None = None
    noise_snr_db: float | None = None
    noise_slope_db: float = 0.0
    reverb: tuple[float, float] | None = None
    music_snr_db: float | None = None
    seed: int = 0


_EQ_BANDS = 6


def draw_augmentation(config: AugmentationConfig, rng: np.random.Generator) -> Augmentation:
    """Draw every value whether used or not, so that one setting does not shift the others."""
    use = rng.random(6)
    uniform = rng.random(8)
    bands = rng.uniform(-1.0, 1.0, _EQ_BANDS)
    seed = int(rng.integers(2**31))

    def between(low: float, high: float, position: float) -> float:
        return low + (high - low) * position

    speed = between(1 - config.speed_range, 1 + config.speed_range, uniform[0])
    decay = between(0.1, max(0.1, config.reverb_max_seconds), uniform[3])
    return Augmentation(
        speed=speed if use[0] < config.speed_probability else 1.0,
        gain_db=(
            between(config.gain_min_db, config.gain_max_db, uniform[1])
            if use[1] < config.gain_probability
            else None
        ),
        eq_db=tuple(bands * config.eq_range_db) if use[2] < config.eq_probability else None,
        noise_snr_db=(
            between(config.noise_min_snr_db, config.noise_max_snr_db, uniform[2])
            if use[3] < config.noise_probability
            else None
        ),
        noise_slope_db=config.noise_max_slope_db * uniform[6],
        reverb=((decay, config.reverb_max_wet * uniform[4]) if use[4] < config.reverb_probability else None),
        music_snr_db=(
            between(config.music_min_snr_db, config.music_max_snr_db, uniform[5])
            if use[5] < config.music_probability
            else None
        ),
        seed=seed,
    )


def change_speed(wav: np.ndarray, speed: float, length: int) -> np.ndarray:
    """``(n,)`` float32 played ``speed`` times as fast, cut or zero-padded to ``length`` samples."""
    if speed != 1.0:
        wav = soxr.resample(wav, speed, 1.0, quality="MQ")
    return np.pad(wav[:length], (0, max(0, length - len(wav))))


def augment(
    wav: np.ndarray, drawn: Augmentation, sample_rate: int, music: np.ndarray | None = None
) -> np.ndarray:
    """Apply all but the speed to ``(n,)`` float32; ``music`` has the same length.

    The order is that of a recording: a room, other audio in it, a microphone's response and
    noise, and a level.
    """
    rng = np.random.default_rng(drawn.seed)
    if drawn.reverb is not None:
        wav = _reverberate(wav, *drawn.reverb, sample_rate, rng)
    if drawn.music_snr_db is not None and music is not None:
        wav = _mix(wav, music, drawn.music_snr_db)
    if drawn.eq_db is not None:
        wav = _equalize(wav, drawn.eq_db)
    if drawn.noise_snr_db is not None:
        wav = _mix(wav, _noise(len(wav), drawn.noise_slope_db, rng), drawn.noise_snr_db)
    peak = float(np.abs(wav).max(initial=0.0))
    gain = 10 ** (drawn.gain_db / 20) if drawn.gain_db is not None else 1.0
    return (wav * min(gain, 0.99 / peak if peak * gain > 0.99 else gain)).astype(np.float32)


def _mix(wav: np.ndarray, other: np.ndarray, snr_db: float) -> np.ndarray:
    """Add ``other`` at a signal-to-noise ratio; silence stays silent."""
    signal, noise = float(np.mean(wav**2)), float(np.mean(other**2))
    if signal == 0 or noise == 0:
        return wav
    return wav + other * (signal / noise * 10 ** (-snr_db / 10)) ** 0.5


def _noise(length: int, slope_db: float, rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise ``(length,)`` that falls by ``slope_db`` an octave, from 1/64 of the Nyquist frequency on."""
    noise = rng.standard_normal(length, dtype=np.float32)
    if slope_db == 0:
        return noise
    size = _fft_size(length)
    octaves = np.log2(np.maximum(np.arange(size // 2 + 1) / (size / 2 / 64), 1.0))
    spectrum = np.fft.rfft(noise, size) * 10 ** (-slope_db / 20 * octaves)
    return np.fft.irfft(spectrum, size)[:length].astype(np.float32)


def _equalize(wav: np.ndarray, gains_db: tuple[float, ...]) -> np.ndarray:
    """Zero-phase filter whose gain in dB is linear between log-spaced frequencies."""
    size = _fft_size(len(wav))
    bins = size // 2 + 1
    # From 1/64 of the Nyquist frequency (125 Hz at 16 kHz) up, in octaves.
    centres = np.linspace(np.log2(bins / 64), np.log2(bins), len(gains_db))
    gain = np.interp(np.log2(np.arange(bins) + 1), centres, gains_db)
    spectrum = np.fft.rfft(wav, size) * 10 ** (gain / 20)
    return np.fft.irfft(spectrum, size)[: len(wav)].astype(np.float32)


def _reverberate(
    wav: np.ndarray, decay: float, wet: float, sample_rate: int, rng: np.random.Generator
) -> np.ndarray:
    """Convolve with a direct path and exponentially decaying noise (Polack's model of a room)."""
    time = np.arange(int(decay * sample_rate)) / sample_rate
    # exp(-6.9) is -60 dB in amplitude.
    tail = rng.standard_normal(len(time)) * np.exp(-6.9 * time / decay)
    tail *= (wet / max(float(np.sum(tail**2)), 1e-12)) ** 0.5
    tail[0] += 1.0
    size = _fft_size(len(wav) + len(tail))
    spectrum = np.fft.rfft(wav, size) * np.fft.rfft(tail, size)
    return np.fft.irfft(spectrum, size)[: len(wav)].astype(np.float32)


def _fft_size(length: int) -> int:
    return 1 << (length - 1).bit_length()
