"""Bootstrap, mutual information and normalised transcripts, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")

from codec.align.transcript import plain_words
from codec.errors import CodecError
from codec.eval.probes.statistics import (
    entropy,
    joint_counts,
    mean_of_ratios,
    mutual_information,
    pnmi,
    ratio,
    speaker_interval,
)


def test_entropy_of_known_distributions():
    assert entropy(np.array([1, 1, 1, 1])) == pytest.approx(2.0)
    assert entropy(np.array([2, 1, 1, 0])) == pytest.approx(1.5)


def test_information_of_a_noisy_binary_channel():
    # Uniform input, error 1/4: I = 1 - H(1/4) = 1 - (1/4 * 2 + 3/4 * log2(4/3)).
    joint = np.array([[3, 1], [1, 3]])
    assert mutual_information(joint) == pytest.approx(1 - (0.5 + 0.75 * np.log2(4 / 3)))
    assert pnmi(joint) == pytest.approx(mutual_information(joint))


def test_pnmi_is_one_for_codes_that_split_phones_and_not_for_codes_that_merge_them():
    assert pnmi(np.array([[5, 7, 0, 0], [0, 0, 3, 9]])) == pytest.approx(1.0)
    # Four equal phones, two codes: 1 of 2 bits.
    assert pnmi(np.array([[1, 0], [1, 0], [0, 1], [0, 1]])) == pytest.approx(0.5)


def test_pnmi_has_no_value_for_one_phone_or_none():
    assert np.isnan(pnmi(np.array([[3, 4]])))
    assert np.isnan(pnmi(np.zeros((2, 2))))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 20), min_size=3, max_size=3), min_size=2, max_size=5))
def test_information_is_symmetric_and_bounded(rows):
    joint = np.array(rows)
    if not joint.any():
        return
    information = mutual_information(joint)
    assert information == pytest.approx(mutual_information(joint.T), abs=1e-9)
    assert 0 <= information <= min(entropy(joint.sum(axis=0)), entropy(joint.sum(axis=1))) + 1e-9


def test_joint_counts_by_clip():
    counts = joint_counts(np.array(["a", "b", "b"]), np.array([7, 7, 9]), np.array([0, 0, 1]), 2)
    assert counts.tolist() == [[[1, 0], [1, 0]], [[0, 0], [0, 1]]]


def test_ratios():
    assert ratio(np.array([3, 4])) == 0.75
    assert np.isnan(ratio(np.array([0, 0])))
    # A class without clips does not count: (1/2 + 1) / 2.
    assert mean_of_ratios(np.array([[1, 2], [3, 3], [0, 0]])) == 0.75


def test_bootstrap_draws_whole_speakers():
    counts = np.array([[1, 1]] * 10 + [[0, 1]] * 10)
    speakers = ["a"] * 10 + ["b"] * 10
    interval = speaker_interval(counts, speakers, ratio, seed=0)
    # Two speakers: a draw is all right, half right or all wrong, each often enough.
    assert (interval.low, interval.high, interval.units, interval.unit) == (0.0, 1.0, 2, "speaker")


def test_bootstrap_matches_the_standard_error_of_a_mean():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(400)
    counts = np.stack([values, np.ones(400)], axis=1)
    interval = speaker_interval(counts, [str(i) for i in range(400)], ratio, seed=1)
    half = 1.96 * values.std() / 20
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert interval.low < values.mean() < interval.high


def test_bootstrap_of_one_speaker_draws_clips_and_of_one_clip_nothing():
    counts = np.array([[1, 1], [0, 1], [1, 1]])
    assert speaker_interval(counts, ["a"] * 3, ratio, seed=0).unit == "clip"
    alone = speaker_interval(counts[:1], ["a"], ratio, seed=0)
    assert (alone.low, alone.high, alone.units) == (None, None, 1)


def test_recentred_interval_holds_a_biased_statistic():
    rng = np.random.default_rng(0)
    joint = rng.poisson(0.5, size=(8, 10, 30))
    value = pnmi(joint.sum(axis=0))
    plain = speaker_interval(joint, list("abcdefgh"), pnmi, seed=0)
    moved = speaker_interval(joint, list("abcdefgh"), pnmi, seed=0, recentre=True)
    assert value < plain.low
    assert moved.low < value < moved.high


def test_bootstrap_is_the_same_twice_and_other_with_another_seed():
    counts = np.array([[i % 3, 3] for i in range(12)])
    names = [str(i) for i in range(12)]
    assert speaker_interval(counts, names, ratio, seed=3) == speaker_interval(counts, names, ratio, seed=3)
    many = np.random.default_rng(0).random((12, 2))
    assert speaker_interval(many, names, ratio, seed=3) != speaker_interval(many, names, ratio, seed=4)


def test_the_intervals_of_probes_stay_as_they_were_published():
    rng, speakers = np.random.default_rng(7), [f"s{number % 4}" for number in range(20)]
    rng.integers(0, 50, 20)
    errors = np.stack([rng.integers(0, 5, 20), rng.integers(5, 9, 20)], axis=1)
    joint = rng.poisson(0.5, size=(20, 5, 8))
    found = [
        speaker_interval(errors, speakers, ratio, 3),
        speaker_interval(errors, ["s"] * 20, ratio, 3),
        speaker_interval(joint, speakers, pnmi, 3, recentre=True),
    ]
    assert [(interval.unit, interval.units) for interval in found] == [("speaker", 4), ("clip", 20), ("speaker", 4)]
    ends = [end for interval in found for end in (interval.low, interval.high)]
    before = [0.36885245901639346, 0.38571428571428573, 0.3043391304347826, 0.4596934203789042]
    assert ends == pytest.approx([*before, 0.0020761360892100275, 0.0510671026938293], abs=1e-12)


def test_transcripts_become_plain_words():
    assert plain_words("\u201cThere\u2019s iron,\u201d they say \u2014 in *all* our well-kept blood!") == (
        "there's iron they say in all our well kept blood"
    )
    assert plain_words("Die Trag\u00f6die") == "die trag\u00f6die"


@pytest.mark.parametrize("text", [None, "", "  ", "?!", "'", "in 1984"])
def test_transcripts_without_spoken_words_are_refused(text):
    with pytest.raises(CodecError):
        plain_words(text)


@settings(deadline=None, max_examples=50)
@given(st.text())
def test_normalising_twice_changes_nothing(text):
    try:
        once = plain_words(text)
    except CodecError:
        return
    assert plain_words(once) == once
