"""Intervals over speakers, and how codebooks are used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.eval.codes import codebook_use
from codec.eval.statistics import bootstrap_weights, interval


@given(groups=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12), seed=st.integers(0, 5))
def test_speakers_are_drawn_whole(groups, seed):
    weights = bootstrap_weights(groups, seed, draws=50)
    names = sorted(set(groups))
    by_speaker = np.stack([weights[:, groups.index(name)] for name in names], axis=1)
    # Each draw takes as many speakers as there are, and a speaker's clips stay together.
    assert (by_speaker.sum(axis=1) == len(names)).all()
    for index, name in enumerate(groups):
        assert np.array_equal(weights[:, index], by_speaker[:, names.index(name)])


def test_an_interval_of_a_mean_is_about_two_standard_errors():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200)
    low, high = interval(lambda w: w @ values / w.sum(axis=1), [str(i) for i in range(200)], seed=0)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 200**0.5, rel=0.15)
    assert low < values.mean() < high


def test_one_speaker_has_no_interval():
    assert interval(lambda w: w.sum(axis=1), ["a", "a"], seed=0) == (None, None)


def test_codebook_use_by_hand():
    codes = [np.array([[0, 0, 1, 1], [3, 3, 3, 3]]), np.array([[2, 2, 3, 3], [3, 3, 3, 3]])]
    first, second = codebook_use(codes, size=8)
    assert (first.layer, first.used, first.entropy, first.perplexity) == (1, 0.5, 2.0, 4.0)
    assert (second.used, second.entropy, second.perplexity, second.frames) == (0.125, 0.0, 1.0, 8)
