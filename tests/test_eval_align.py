"""Delay is found, removed and limited; lengths that do not fit are refused."""

import numpy as np
import pytest
from eval_helpers import RATE, add_noise, bundled_speech
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.eval.align import find_delay, remove_delay
from codec.eval.types import Skip


def shift(wav: np.ndarray, delay: int) -> np.ndarray:
    """Later by ``delay`` samples, as long as before."""
    if delay < 0:
        return np.concatenate([wav[-delay:], np.zeros(-delay, wav.dtype)])
    return np.concatenate([np.zeros(delay, wav.dtype), wav])[: len(wav)]


@settings(max_examples=20, deadline=None)
@given(delay=st.integers(-3000, 3000), snr=st.sampled_from([3.0, 20.0]), gain=st.sampled_from([0.1, 1.0]))
def test_any_delay_within_the_limit_is_found(delay, snr, gain):
    speech = bundled_speech(1.5)
    assert find_delay(speech, gain * add_noise(shift(speech, delay), snr), RATE).samples == delay


def test_envelopes_are_matched_where_phases_are_lost():
    speech = bundled_speech(3.0)
    # The sign of every sample at random: the level stays, the waveform is gone.
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(speech)).astype(np.float32)
    found = find_delay(speech, shift(speech * signs, 640), RATE, method="envelope")
    assert found.samples == pytest.approx(640, abs=40)
    assert found.correlation < 0.3


def test_no_delay_beyond_the_limit_is_claimed():
    speech = bundled_speech(2.0)
    assert abs(find_delay(speech, shift(speech, 4000), RATE, max_delay=0.05).samples) <= 800


def test_a_weak_match_is_not_taken_for_a_codec_that_leads():
    speech = bundled_speech(2.0)
    noise = np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    weak = 0.1 * shift(speech, -400) + 0.2 * noise
    found = find_delay(speech, weak, RATE)
    assert found.correlation < 0.3 and found.samples >= -80
    assert find_delay(speech, shift(speech, -400), RATE).samples == -400


@given(delay=st.integers(-500, 500))
def test_removal_restores_the_common_part(delay):
    speech = bundled_speech(0.5)
    aligned = remove_delay(speech, shift(speech, delay), delay, RATE)
    assert len(aligned.reference) == len(aligned.output) == len(speech) - abs(delay)
    assert np.array_equal(aligned.reference, aligned.output)


@pytest.mark.parametrize(("seconds", "word"), [(1.0, "shorter"), (4.0, "longer")])
def test_an_output_of_another_length_is_refused(seconds, word):
    speech = bundled_speech(2.0)
    other = np.resize(speech, round(seconds * RATE))
    with pytest.raises(Skip, match=word):
        remove_delay(speech, other, 0, RATE)


def test_silence_has_no_delay():
    assert find_delay(np.zeros(1000, np.float32), np.zeros(1000, np.float32), RATE).samples == 0
