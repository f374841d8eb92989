"""Intervals over speakers, and how codebooks are used."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.eval.codes import codebook_use
from codec.eval.statistics import bootstrap, by_index, group_indices, multinomial


@pytest.mark.parametrize("draw", [by_index, multinomial])
def test_each_draw_takes_as_many_groups_as_there_are(draw):
    drawn = draw(np.random.default_rng(0), 5)
    assert drawn.shape == (1000, 5) and (drawn.sum(axis=1) == 5).all() and (drawn >= 0).all()
    # Each group counts once on average: the mean of 1000 draws has a standard error of 0.03.
    assert drawn.mean(axis=0) == pytest.approx(np.ones(5), abs=0.12)


@given(speakers=st.lists(st.sampled_from("abcd"), min_size=1, max_size=12))
def test_a_speakers_clips_are_one_group(speakers):
    count, index = group_indices(speakers)
    assert count == len(set(speakers)) and len(index) == len(speakers)
    for i, first in enumerate(speakers):
        assert [index[i] == other for other in index] == [first == other for other in speakers]


def test_an_interval_of_a_mean_is_about_two_standard_errors():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(200)
    low, high = bootstrap(lambda w: w @ values / w.sum(axis=1), 200, seed=0)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 200**0.5, rel=0.15)
    assert low < values.mean() < high


@pytest.mark.parametrize("groups", [0, 1])
def test_fewer_than_two_speakers_have_no_interval(groups):
    assert bootstrap(lambda w: w.sum(axis=1), groups, seed=0) == (None, None)


def test_draws_without_a_value_are_left_out():
    def share(weights):
        # Not defined where the first group was not drawn, 1 elsewhere.
        return np.where(weights[:, 0] > 0, 1.0, np.nan)

    assert bootstrap(share, 3, seed=0) == (1.0, 1.0)
    assert bootstrap(lambda weights: np.full(len(weights), np.nan), 3, seed=0) == (None, None)


def test_the_intervals_of_measures_stay_as_they_were_published():
    speakers = [f"s{number % 4}" for number in range(20)]
    values = np.random.default_rng(7).integers(0, 50, 20).astype(float)
    count, index = group_indices(speakers)
    found = bootstrap(lambda w: w[:, index] @ values / w[:, index].sum(axis=1), count, seed=3)
    assert found == pytest.approx((24.1, 30.45), abs=1e-12)


def test_codebook_use_by_hand():
    codes = [np.array([[0, 0, 1, 1], [3, 3, 3, 3]]), np.array([[2, 2, 3, 3], [3, 3, 3, 3]])]
    first, second = codebook_use(codes, sizes=[16, 8])
    assert (first.layer, first.size, first.used, first.entropy, first.perplexity) == (1, 16, 0.25, 2.0, 4.0)
    assert (second.size, second.used, second.entropy, second.perplexity, second.frames) == (8, 0.125, 0.0, 1.0, 8)
