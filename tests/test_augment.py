"""Laws of augmentation: nothing by default, and each change does what its number says."""

import numpy as np
import pytest

from codec.data.augment import (
    Augmentation,
    AugmentationConfig,
    augment,
    change_speed,
    draw_augmentation,
)
from codec.errors import CodecError

RATE = 16_000
RNG = np.random.default_rng


def tone(frequency: float, length: int = RATE) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(length) / RATE)).astype(np.float32)


def peak_frequency(wav: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wav * np.hanning(len(wav))))
    return float(np.argmax(spectrum)) * RATE / len(wav)


def level_db(wav: np.ndarray) -> float:
    return 10 * np.log10(np.mean(wav.astype(np.float64) ** 2))


def test_by_default_nothing_is_changed():
    drawn = draw_augmentation(AugmentationConfig(), RNG(0))
    wav = tone(300)
    assert drawn.speed == 1.0
    assert np.array_equal(augment(wav, drawn, RATE), wav)
    assert np.array_equal(change_speed(wav, drawn.speed, len(wav)), wav)


@pytest.mark.parametrize("speed", [0.88, 1.0, 1.12])
def test_speed_scales_pitch_and_duration_together(speed):
    source = tone(500, round(RATE * speed))
    played = change_speed(source, speed, RATE)
    assert len(played) == RATE
    assert peak_frequency(played) == pytest.approx(500 * speed, abs=1.0)
    # The middle of the source is the middle of what is played, and the end the end.
    assert level_db(played[-400:-50]) == pytest.approx(level_db(source), abs=0.5)


def test_a_source_that_is_too_short_is_padded():
    played = change_speed(tone(500, 1000), 1.1, 2000)
    assert len(played) == 2000
    assert not played[920:].any()


@pytest.mark.parametrize("gain_db", [-12.0, 3.0])
def test_gain_in_decibels(gain_db):
    wav = tone(300)
    assert level_db(augment(wav, Augmentation(gain_db=gain_db), RATE)) == pytest.approx(
        level_db(wav) + gain_db, abs=1e-3
    )


def test_gain_never_clips():
    wav = tone(300)
    assert np.abs(augment(wav, Augmentation(gain_db=40.0), RATE)).max() == pytest.approx(0.99, abs=1e-6)


@pytest.mark.parametrize("snr_db", [10.0, 20.0])
def test_noise_and_music_are_added_at_their_ratio(snr_db):
    wav, music = tone(300), tone(1000)
    noisy = augment(wav, Augmentation(noise_snr_db=snr_db, seed=4), RATE)
    assert level_db(wav) - level_db(noisy - wav) == pytest.approx(snr_db, abs=0.01)
    mixed = augment(wav, Augmentation(music_snr_db=snr_db), RATE, music)
    assert level_db(wav) - level_db(mixed - wav) == pytest.approx(snr_db, abs=0.01)
    assert peak_frequency(mixed - wav) == pytest.approx(1000, abs=2)


@pytest.mark.parametrize("slope_db", [0.0, 3.0, 6.0])
def test_the_noise_keeps_its_ratio_and_falls_by_its_slope(slope_db):
    wav = tone(300, 8 * RATE)
    drawn = Augmentation(noise_snr_db=20.0, noise_slope_db=slope_db, seed=4)
    noise = augment(wav, drawn, RATE) - wav
    assert level_db(wav) - level_db(noise) == pytest.approx(20, abs=0.01)
    power = np.abs(np.fft.rfft(noise[: 8 * RATE])) ** 2
    # Density in octaves around 500 and 4000 Hz, which are three octaves apart: bins are 1/8 Hz wide.
    low, high = (10 * np.log10(power[round(8 * f / 2**0.5) : round(8 * f * 2**0.5)].mean()) for f in (500, 4000))
    assert low - high == pytest.approx(3 * slope_db, abs=0.8)


def test_silence_stays_silent():
    drawn = Augmentation(
        gain_db=6.0, eq_db=(1.0,) * 6, noise_snr_db=10.0, noise_slope_db=6.0, reverb=(0.3, 0.5), music_snr_db=0.0
    )
    assert not augment(np.zeros(4000, np.float32), drawn, RATE, tone(300, 4000)).any()


def test_a_level_equalizer_is_a_gain_and_zero_is_nothing():
    wav = tone(700)
    assert np.allclose(augment(wav, Augmentation(eq_db=(0.0,) * 6), RATE), wav, atol=1e-6)
    raised = augment(wav, Augmentation(eq_db=(6.0,) * 6), RATE)
    assert np.allclose(raised, wav * 10 ** (6 / 20), atol=1e-5)


def test_the_equalizer_raises_the_frequencies_of_its_bands():
    drawn = Augmentation(eq_db=(6.0, 6.0, 6.0, 0.0, -6.0, -6.0))
    low, high = (level_db(augment(tone(f), drawn, RATE)) - level_db(tone(f)) for f in (200, 7000))
    assert low == pytest.approx(6, abs=0.5)
    assert high == pytest.approx(-6, abs=0.5)


def test_a_room_adds_a_decaying_tail_of_its_energy_to_the_direct_sound():
    impulse = np.zeros(RATE, np.float32)
    impulse[0] = 0.5
    room = augment(impulse, Augmentation(reverb=(0.4, 0.25), seed=1), RATE) / 0.5
    tail = room.copy()
    tail[0] -= 1.0
    assert np.sum(tail**2) == pytest.approx(0.25, rel=1e-3)
    early, late = np.sum(tail[:1600] ** 2), np.sum(tail[3200:4800] ** 2)
    # 60 dB in 0.4 s are 30 dB from the first to the third tenth of a second.
    assert 10 * np.log10(early / late) == pytest.approx(30, abs=1.5)
    assert not tail[6401:].any() or np.abs(tail[6401:]).max() < 1e-6


def test_drawn_shares_and_ranges_are_those_of_the_config():
    config = AugmentationConfig(gain_probability=0.3, speed_probability=1.0)
    drawn = [draw_augmentation(config, RNG(seed)) for seed in range(1000)]
    assert np.mean([d.gain_db is not None for d in drawn]) == pytest.approx(0.3, abs=0.06)
    speeds = [d.speed for d in drawn]
    assert 0.88 <= min(speeds) < 0.89 and 1.11 < max(speeds) <= 1.12
    gains = [d.gain_db for d in drawn if d.gain_db is not None]
    assert min(gains) >= -15 and max(gains) <= 6


def test_one_setting_does_not_shift_the_draws_of_another():
    alone = draw_augmentation(AugmentationConfig(gain_probability=1.0), RNG(7))
    both = draw_augmentation(AugmentationConfig(gain_probability=1.0, noise_probability=1.0), RNG(7))
    assert alone.gain_db == both.gain_db
    assert alone.noise_snr_db is None and both.noise_snr_db is not None
    sloped = draw_augmentation(AugmentationConfig(noise_probability=1.0, noise_max_slope_db=6.0), RNG(7))
    assert sloped.noise_snr_db == both.noise_snr_db and 0 < sloped.noise_slope_db < 6


def test_what_is_no_probability_is_refused():
    with pytest.raises(CodecError, match=r"gain_probability: 1\.5 is not a probability"):
        AugmentationConfig(gain_probability=1.5)
    with pytest.raises(CodecError, match=r"noise_max_slope_db: -3\.0 is not 0 to 24"):
        AugmentationConfig(noise_max_slope_db=-3.0)
