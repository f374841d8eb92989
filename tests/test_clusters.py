"""Cluster-balanced draws: the law of the sampler, its caps, and that processes share one global draw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec.data.clusters import (
    ClusterConfig,
    WeightedDraws,
    cluster_weights,
    effective_size,
    fit_clusters,
    merge_small,
    read_clusters,
    write_clusters,
)
from codec.errors import CodecError

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(
    lambda values: np.unique(values, return_inverse=True)[1]
)


@given(LABELS)
def test_power_one_gives_clusters_equal_shares_and_power_zero_clips(labels):
    balanced = cluster_weights(labels, 1.0, max_ratio=1e9)
    shares = np.bincount(labels, balanced)
    assert np.allclose(shares, 1 / len(shares))
    assert np.allclose(cluster_weights(labels, 0.0, 20.0), 1 / len(labels))


@given(LABELS, st.floats(0, 3), st.floats(1, 50))
def test_weights_keep_their_cap_and_the_order_of_rarity(labels, power, max_ratio):
    weights = cluster_weights(labels, power, max_ratio)
    assert weights.sum() == pytest.approx(1)
    assert weights.max() <= weights.min() * max_ratio * (1 + 1e-9)
    counts = np.bincount(labels)[labels]
    rarest = counts == counts.min()
    assert np.all(weights[rarest] >= weights.max() * (1 - 1e-9))


@given(LABELS, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_the_effective_size_is_that_of_all_clips_only_when_they_are_drawn_alike(labels, power):
    weights = cluster_weights(labels, power, 1e9)
    size = effective_size(weights)
    assert 1 - 1e-9 <= size <= len(labels) * (1 + 1e-9)
    assert (size == pytest.approx(len(labels))) == bool(np.allclose(weights, weights[0]))


def test_the_effective_size_of_a_hand_computed_case():
    # Clusters of 1 and 3: weights 3:1:1:1, so 6^2 / (9 + 3).
    weights = cluster_weights(np.array([0, 1, 1, 1]), 1.0, 20.0)
    assert weights.tolist() == pytest.approx([1 / 2, 1 / 6, 1 / 6, 1 / 6])
    assert effective_size(weights) == pytest.approx(3.0)


def test_clusters_are_drawn_alike_however_unequal_they_are():
    labels = np.repeat(np.arange(5), [2, 10, 50, 200, 738])
    draws = WeightedDraws(cluster_weights(labels, 1.0, 1e9), seed=3)
    drawn = np.array([draws.draw(step, slot)[0] for step in range(500) for slot in range(40)])
    counts = np.bincount(labels[drawn], minlength=5)
    # Chi-square with 4 degrees of freedom: above 18.5 once in a thousand seeds, and this is one seed.
    expected = len(drawn) / 5
    assert (np.square(counts - expected) / expected).sum() < 18.5
    inside = np.bincount(drawn[labels[drawn] == 4] - 262, minlength=738)
    assert inside.min() >= 0 and inside.std() < 2 * inside.mean() ** 0.5


def test_a_draw_is_a_function_of_seed_step_and_slot():
    weights = np.full(50, 0.02)
    first, again, other = WeightedDraws(weights, 1), WeightedDraws(weights, 1), WeightedDraws(weights, 2)
    late = [again.draw(step, slot) for step in (9, 4) for slot in range(8)]
    assert late == [first.draw(step, slot) for step in (9, 4) for slot in range(8)]
    assert late != [other.draw(step, slot) for step in (9, 4) for slot in range(8)]
    assert len(set(late)) == len(late)


def test_no_draw_has_a_clip_of_weight_zero():
    draws = WeightedDraws(np.array([0.0, 0.5, 0.0, 0.5, 0.0]), seed=0)
    assert {draws.draw(0, slot)[0] for slot in range(200)} == {1, 3}


def test_planted_groups_are_found_and_balanced():
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(4), [10, 20, 60, 300])
    points = 10 * rng.standard_normal((4, 8))[kinds] + rng.standard_normal((len(kinds), 8))
    labels = fit_clusters(points, ClusterConfig(num_clusters=4), seed=0)
    pairs = set(zip(kinds.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == 4
    assert np.array_equal(labels, fit_clusters(points, ClusterConfig(num_clusters=4), seed=0))
    shares = np.bincount(kinds, cluster_weights(labels, 1.0, 1e9))
    assert np.allclose(shares, 0.25)


def test_directions_alone_count_when_spherical():
    rng = np.random.default_rng(0)
    kinds = np.tile([0, 1], 40)
    lengths = rng.uniform(1, 100, (80, 1))
    points = np.array([[1.0, 0.0], [0.0, 1.0]])[kinds] * lengths + 0.01 * rng.standard_normal((80, 2))
    labels = fit_clusters(points, ClusterConfig(num_clusters=2, spherical=True), seed=0)
    assert len(set(zip(kinds.tolist(), labels.tolist(), strict=True))) == 2


def test_small_clusters_join_the_nearest_that_is_large():
    points = np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2], [4.0]])
    labels = np.array([0, 0, 0, 2, 2, 2, 7])
    assert merge_small(points, labels, 2).tolist() == [0, 0, 0, 1, 1, 1, 1]
    assert merge_small(points, labels, 1).tolist() == [0, 0, 0, 1, 1, 1, 2]
    # Nothing is large enough: the largest stay.
    assert merge_small(points, labels, 100).tolist() == [0, 0, 0, 1, 1, 1, 1]


def test_more_clusters_than_clips_and_bad_vectors_are_refused():
    with pytest.raises(CodecError, match="5 clusters of 3 clips; set fewer"):
        fit_clusters(np.zeros((3, 2)), ClusterConfig(num_clusters=5), seed=0)
    with pytest.raises(CodecError, match="not finite"):
        fit_clusters(np.array([[0.0], [np.nan]]), ClusterConfig(num_clusters=1), seed=0)
    for values in ({"num_clusters": 0}, {"power": -1.0}, {"max_ratio": 0.5}):
        with pytest.raises(CodecError, match="config clusters"):
            ClusterConfig(**values)


def test_the_table_of_clusters_is_read_back_and_must_be_whole(tmp_path):
    names, labels = ["a,b", "c", "d/e"], np.array([1, 0, 1])
    write_clusters(tmp_path / "clusters.csv", names, labels)
    assert read_clusters(tmp_path / "clusters.csv", names).tolist() == [1, 0, 1]
    with pytest.raises(CodecError, match=r"1 clips have no cluster \(first: z\)"):
        read_clusters(tmp_path / "clusters.csv", ["c", "z"])
    with pytest.raises(CodecError, match="cannot be read as a table"):
        read_clusters(tmp_path / "none.csv", names)
