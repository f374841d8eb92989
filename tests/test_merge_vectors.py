"""Task vectors as functions of state dicts: laws of the algebra, and values worked out by hand."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from codec.merging.folding import fold, split
from codec.merging.vectors import Recipe, combine, cosine, dare, difference, norm, ties, trim

METHODS = [Recipe(), Recipe("ties", 0.5), Recipe("dare", 0.5)]


def states(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    # Sizes far apart, where a sum in float32 would lose the small one.
    shapes = {"a": (3, 4), "b": (5,), "c": ()}
    drawn = [
        {
            name: torch.randn(shape, generator=generator) * size
            for (name, shape), size in zip(shapes.items(), (1, 1e3, 1e6), strict=True)
        }
        for _ in range(count)
    ]
    for number, item in enumerate(drawn):
        item["b"][:2] = -0.0 if number % 2 else 0.0
    return drawn


def same(*values):
    """Equal lambdas for all tensors of ``states``."""
    return [dict.fromkeys("abc", value) for value in values]


def equal(first, second):
    """The same bits: 0 is not -0."""
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) and torch.equal(first[name].signbit(), second[name].signbit())
        for name in first
    )


def state(*numbers):
    return {"x": torch.tensor(numbers)}


@pytest.mark.parametrize("recipe", METHODS, ids=lambda recipe: recipe.method)
def test_lambda_0_is_the_base_bit_for_bit(recipe):
    base, *branches = states(4)
    assert equal(combine(base, branches, same(0.0, 0.0, 0.0), recipe), base)


@pytest.mark.parametrize("recipe", [Recipe(), Recipe("dare")], ids=lambda recipe: recipe.method)
def test_lambda_1_is_the_branch_bit_for_bit(recipe):
    base, *branches = states(4)
    for number, branch in enumerate(branches):
        weights = same(*(float(number == index) for index in range(3)))
        assert equal(combine(base, branches, weights, recipe), branch)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-2, 2), min_size=3, max_size=3), st.floats(-2, 2))
def test_the_merge_is_linear_in_lambda(lambdas, factor):
    base, *branches = [{name: tensor.double() for name, tensor in item.items()} for item in states(4)]
    step = difference(combine(base, branches, same(*lambdas)), base)
    scaled = difference(combine(base, branches, same(*(factor * value for value in lambdas))), base)
    alone = [
        difference(combine(base, [b], same(value)), base) for b, value in zip(branches, lambdas, strict=True)
    ]
    for name in base:
        torch.testing.assert_close(scaled[name], factor * step[name])
        torch.testing.assert_close(sum(vector[name] for vector in alone), step[name])


def test_lambdas_of_sum_1_are_a_weighted_mean_whatever_the_base():
    base, other, *branches = states(4)
    first, second = (combine(start, branches, same(0.25, 0.75)) for start in (base, other))
    assert equal(first, second)
    torch.testing.assert_close(first["b"], 0.25 * branches[0]["b"] + 0.75 * branches[1]["b"])


@pytest.mark.parametrize("recipe", METHODS, ids=lambda recipe: recipe.method)
def test_the_order_of_branches_does_not_matter(recipe):
    base, *branches = states(4)
    lambdas, keys = (0.3, 0.7, -0.4), ("one", "two", "three")
    results = [
        combine(
            base,
            [branches[i] for i in order],
            same(*(lambdas[i] for i in order)),
            recipe,
            [keys[i] for i in order],
        )
        for order in itertools.permutations(range(3))
    ]
    assert all(equal(result, results[0]) for result in results)


def test_each_tensor_may_have_a_lambda_of_its_own():
    base, branch = states(2)
    merged = combine(base, [branch], [{"a": 0.0, "b": 1.0, "c": 0.5}])
    assert torch.equal(merged["a"], base["a"]) and torch.equal(merged["b"], branch["b"])
    torch.testing.assert_close(merged["c"], (base["c"] + branch["c"]) / 2)


@pytest.mark.parametrize("recipe", METHODS, ids=lambda recipe: recipe.method)
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_branch_whose_lambda_is_0_changes_nothing(recipe, data):
    """In each tensor, wherever it stands among the branches."""
    base, *branches = states(5)
    value = st.one_of(st.just(0.0), st.floats(-2, 2))
    weights = [{name: data.draw(value) for name in "abc"} for _ in range(3)]
    keys = ["one", "two", "three"]
    expected = combine(base, branches[:3], weights, recipe, keys)
    place = data.draw(st.integers(0, 3))
    zero = branches[3] if data.draw(st.booleans()) else branches[0]
    with_it = [
        [*part[:place], more, *part[place:]]
        for part, more in ((branches[:3], zero), (weights, dict.fromkeys("abc", 0.0)), (keys, "four"))
    ]
    assert equal(combine(base, *with_it[:2], recipe, with_it[2]), expected)
    # The same of one tensor: its lambda may be 0 where those of the others are not.
    weights = [dict(weight, a=0.0) if number == 1 else weight for number, weight in enumerate(weights)]
    without = combine(base, [branches[0], branches[2]], [weights[0], weights[2]], recipe, ["one", "three"])
    assert torch.equal(combine(base, branches[:3], weights, recipe, keys)["a"], without["a"])


def test_types_are_the_bases():
    base, branch = ({"x": torch.randn(4).to(kind)} for kind in (torch.bfloat16, torch.float32))
    assert combine(base, [branch], [{"x": 0.5}])["x"].dtype is torch.bfloat16


def test_trim_keeps_the_largest_over_all_tensors_together():
    trimmed = trim({"x": torch.tensor([4.0, -1.0, 0.5]), "y": torch.tensor([[-3.0], [2.0], [0.1]])}, 0.5)
    assert trimmed["x"].tolist() == [4.0, 0.0, 0.0] and trimmed["y"].tolist() == [[-3.0], [2.0], [0.0]]
    assert trim(state(1.0, 2.0), 0.1)["x"].tolist() == [0.0, 0.0]


def test_ties_by_hand():
    # Algorithm 1 of arXiv 2306.01708 with half of the entries kept and a lambda of 1. The base is 10.
    base = state(10.0, 10.0, 10.0, 10.0)
    vectors = [(4.0, -3.0, 1.0, 0.5), (-1.0, -2.0, 6.0, 0.1), (2.0, 0.3, -5.0, 0.2)]
    branches = [state(*(10.0 + value for value in vector)) for vector in vectors]
    # trimmed:   4 -3  0  0        signs of the sums: + - + 0
    #            0 -2  6  0        means of those that agree: (4 + 2) / 2, (-3 - 2) / 2, 6, nothing
    #            2  0 -5  0
    merged = ties(base, branches, [{"x": 1.0}] * 3, 0.5)
    torch.testing.assert_close(merged["x"], torch.tensor([13.0, 7.5, 16.0, 10.0]))
    # Any lambda that all have scales the merged vector, as in the paper.
    merged = ties(base, branches, [{"x": 0.4}] * 3, 0.5)
    torch.testing.assert_close(merged["x"], torch.tensor([11.2, 9.0, 12.4, 10.0]))


def test_unequal_lambdas_weigh_the_votes_and_the_mean_of_ties():
    base, branches = state(0.0, 0.0), [state(4.0, 1.0), state(-3.0, 2.0)]
    # Votes: 4 * 0.5 against 3 * 1.5; the mean of the second entry is (0.5 * 1 + 1.5 * 2) / 2.
    merged = ties(base, branches, [{"x": 0.5}, {"x": 1.5}], 1.0)
    torch.testing.assert_close(merged["x"], torch.tensor([-3.0, 1.75]))


def test_dare_drops_a_share_and_keeps_the_mean():
    base, branch = {"x": torch.full((20_000,), 5.0)}, {"x": torch.full((20_000,), 6.0)}
    thinned = difference(dare(base, branch, 0.25, "key"), base)["x"]
    # What stays is divided by the density: 1 / 0.25. Four standard deviations of a count are 245.
    assert set(thinned.tolist()) == {0.0, 4.0}
    assert abs(int((thinned > 0).sum()) - 5000) < 250


def test_dare_draws_by_key_and_name():
    base, branch = ({name: torch.full((64,), value) for name in "xy"} for value in (0.0, 1.0))
    first, again, other = (dare(base, branch, 0.5, key) for key in ("0/a", "0/a", "1/a"))
    assert equal(first, again) and not equal(first, other) and not torch.equal(first["x"], first["y"])


def test_norms_and_cosines():
    assert norm({"x": torch.tensor([3.0]), "y": torch.tensor([[4.0]])}) == 5.0
    assert cosine(state(1.0, 0.0), state(1.0, 1.0)) == pytest.approx(0.5**0.5)
    assert cosine(state(0.0, 0.0), state(1.0, 1.0)) is None


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dim", [0, 2])
def test_weight_norm_is_folded_merged_and_split(dim, old):
    torch.manual_seed(0)
    modules = [weight_norm(nn.Conv1d(3, 4, 5), "weight", dim=dim) for _ in range(2)]
    names = (
        ("parametrizations.weight.original0", "parametrizations.weight.original1"),
        ("weight_g", "weight_v"),
    )
    for module in modules:
        # So that v is no weight of its own norm.
        module.parametrizations.weight.original0.data *= 1.7
    raw = [{f"conv.{name}": t.detach() for name, t in module.state_dict().items()} for module in modules]
    if old:
        raw = [{rename(name, names): tensor for name, tensor in item.items()} for item in raw]
    plain = [fold(item) for item in raw]
    for module, item in zip(modules, plain, strict=True):
        torch.testing.assert_close(item["conv.weight"], module.weight.detach(), rtol=1e-6, atol=1e-6)
    half = [dict.fromkeys(plain[0], 0.5)]
    merged = combine(plain[0], plain[1:], half)
    restored = split(merged, raw[0], raw)
    assert list(restored) == list(raw[0])
    torch.testing.assert_close(fold(restored)["conv.weight"], merged["conv.weight"], rtol=1e-6, atol=1e-6)
    mean = (modules[0].weight + modules[1].weight).detach() / 2
    torch.testing.assert_close(merged["conv.weight"], mean, rtol=1e-6, atol=1e-6)
    # What did not move keeps its g and v, of which many make the same weight.
    assert all(equal(split(item, raw[0], raw), origin) for item, origin in zip(plain, raw, strict=True))


def rename(name, names):
    for new, old in zip(*names, strict=True):
        name = name.replace(new, old)
    return name
