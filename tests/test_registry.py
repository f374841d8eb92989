"""Registries: names, near misses, duplicates, and what other packages offer."""

import sys
from pathlib import Path

import pytest

from codec.errors import CodecError
from codec.registry import Registry


@pytest.fixture
def registry() -> Registry:
    registry: Registry = Registry("test thing")
    registry.register("apple")(str)
    registry.register("pear")(int)
    return registry


def offer(folder: Path, value: str, name: str = "plum") -> None:
    """Install a fake distribution that offers ``name`` into a folder."""
    (folder / "fruit_shop.py").write_text("class Plum:\n    pass\n")
    info = folder / "fruit_shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fruit-shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[codec.test_thing]\n{name} = {value}\n")


@pytest.fixture
def shop(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("fruit_shop", None)


def test_what_is_registered_is_found_in_order_of_registration(registry):
    assert registry.find("apple") is str and registry["pear"] is int
    assert list(registry) == ["apple", "pear"] and len(registry) == 2 and "apple" in registry


def test_an_unknown_name_is_told_with_all_that_are_known(registry):
    with pytest.raises(CodecError, match=r"^unknown test thing 'xyz'; known: apple, pear$"):
        registry.find("xyz")
    with pytest.raises(CodecError, match=r"unknown test thing \['apple'\]"):
        registry.find(["apple"])
    with pytest.raises(KeyError):
        registry["xyz"]


def test_a_near_miss_is_told_with_the_nearest_name_and_the_place(registry):
    with pytest.raises(CodecError, match=r"^train\.x: unknown test thing 'aple'; did you mean 'apple'\?"):
        registry.find("aple", "train.x")


def test_two_things_of_one_name_are_refused_and_the_same_thing_again_is_not(registry):
    with pytest.raises(CodecError, match="two test thing registrations are called 'apple'; rename one"):
        registry.register("apple")(bytes)
    assert registry.register("apple")(str) is str


def test_things_that_are_values_are_told_apart_by_value():
    registry: Registry = Registry("test thing")
    registry.register("a")((1, 2))
    registry.register("a")((1, 2))
    with pytest.raises(CodecError, match="two test thing"):
        registry.register("a")((1, 3))


def test_another_package_joins_in_and_is_imported_only_when_asked_for(registry, shop):
    offer(shop, "fruit_shop:Plum")
    assert list(registry) == ["apple", "pear", "plum"] and "plum" in registry
    with pytest.raises(CodecError, match=r"did you mean 'plum'\?"):
        registry.find("plumm")
    assert "fruit_shop" not in sys.modules
    assert registry.find("plum").__name__ == "Plum" and registry["plum"] is sys.modules["fruit_shop"].Plum


def test_the_package_s_own_name_is_not_taken_by_another_package(registry, shop):
    offer(shop, "fruit_shop:Plum", name="apple")
    assert registry.find("apple") is str and len(registry) == 2


@pytest.mark.parametrize("value", ["fruit_shop:Missing", "no_such_module:Plum"])
def test_a_package_that_cannot_be_imported_is_named(registry, shop, value):
    offer(shop, value)
    with pytest.raises(CodecError, match="test thing 'plum' of the package fruit-shop: "):
        registry.find("plum")
    assert registry.find("pear") is int


def test_entry_points_of_the_earlier_kind_still_count(shop):
    offer(shop, "fruit_shop:Plum")
    found = Registry("fruit", earlier="test thing").find("plum")
    assert (found.__module__, found.__name__) == ("fruit_shop", "Plum")


@pytest.mark.parametrize(
    ("module", "earlier", "current"),
    [
        ("codec.eval.systems", "peer", "baseline"),
        ("codec.eval.systems", "parse_peer", "parse_baseline"),
        ("codec.eval.systems.registry", "peer", "baseline"),
        ("codec.eval.probes", "Measure", "Finding"),
        ("codec.eval.probes", "Skip", "Omitted"),
        ("codec.eval.measures", "JudgeSettings", "MetricSettings"),
    ],
)
def test_an_earlier_name_is_the_same_thing_with_a_warning(module, earlier, current):
    imported = pytest.importorskip(module)
    with pytest.warns(DeprecationWarning, match=f"{module}.{earlier} is now called {current}"):
        assert getattr(imported, earlier) is getattr(imported, current)
    assert not hasattr(imported, "nothing_of_that_name")
