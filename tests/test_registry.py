"""Registries: names, near misses, duplicates, and what other packages offer."""

import importlib
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


def offer(folder: Path, value: str, name: str = "plum", group: str = "codec.test_thing") -> None:
    """Install a fake distribution that offers ``name`` into a folder."""
    (folder / "fruit_shop.py").write_text("class Plum:\n    pass\n")
    info = folder / "fruit_shop-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fruit-shop\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")


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


def test_each_thing_is_introduced_by_its_name_however_it_enters(shop):
    met = []
    registry: Registry = Registry("test thing", introduce=lambda name, thing: met.append((name, thing.__name__)))
    registry.register("apple")(str)
    offer(shop, "fruit_shop:Plum")
    assert registry["plum"] is registry["plum"]
    assert met == [("apple", "str"), ("plum", "Plum")]


KINDS = {
    "codec.aligner": ("codec.align.registry", "_ALIGNERS", "faster_whisper"),
    "codec.architecture": ("codec.model.registry", "ARCHITECTURES", "seanet"),
    "codec.bench_baseline": ("codec.bench.systems", "BASELINES", "encodec"),
    "codec.benchmark": ("codec.bench.registry", "BENCHMARKS", "offline"),
    "codec.discriminator": ("codec.discriminators.registry", "_DISCRIMINATORS", "multiband"),
    "codec.loss": ("codec.train.losses.registry", "_LOSSES", "waveform"),
    "codec.measure": ("codec.eval.measures.registry", "MEASURES", "si_sdr"),
    "codec.baseline": ("codec.eval.systems.registry", "BASELINES", "codec2"),
    "codec.probe": ("codec.eval.probes.registry", "PROBES", "phone"),
    "codec.quantizer": ("codec.quantizers.base", "_QUANTIZERS", "split_rvq"),
    "codec.quantizer_trainer": ("codec.train.quantizers.base", "TRAINERS", "split_rvq"),
    "codec.task": ("codec.train.tasks.base", "TASKS", "codec"),
    "codec.teacher": ("codec.teachers.registry", "_TEACHERS", "speech"),
}


@pytest.mark.parametrize("group", KINDS)
def test_every_kind_has_near_misses_and_takes_in_other_packages(group, shop, monkeypatch):
    module, attribute, name = KINDS[group]
    if group == "codec.architecture":
        importlib.import_module("codec.model.codec")
    registry = getattr(importlib.import_module(module), attribute)
    with pytest.raises(CodecError, match=f"unknown .*; did you mean '{name}'"):
        registry.find(f"{name}x")
    # Seen for the first time, with the package there.
    monkeypatch.setattr(registry, "_points", None)
    monkeypatch.setattr(registry, "_items", dict(registry._items))
    offer(shop, "fruit_shop:Plum", group=group)
    assert registry.find("plum") is sys.modules["fruit_shop"].Plum and name in registry


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


@pytest.mark.parametrize(
    ("earlier", "current", "name"),
    [
        ("codec.model.functions", "codec.engines.torch", "TorchEngine"),
        ("codec.model.quantizer", "codec.quantizers.rvq", "ResidualVQ"),
        ("codec.train.compare.config", "codec.compare.config", "SoundConfig"),
        ("codec.train.corpus", "codec.data.corpus", "CorpusConfig"),
        ("codec.train.data.prefetch", "codec.data.loading.prefetch", "Prefetcher"),
        ("codec.train.discriminators.mpd", "codec.discriminators.mpd", "MultiPeriodDiscriminator"),
        ("codec.train.features.live", "codec.teachers.features.live", "LiveFeatures"),
        ("codec.train.quantizer", "codec.train.quantizers.residual", "EMAResidualVQ"),
        ("codec.train.teachers.language", "codec.teachers.language", "is_speech"),
    ],
)
def test_a_module_is_found_by_its_earlier_name_with_a_warning(earlier, current, name):
    pytest.importorskip("accelerate")
    module = importlib.import_module(current)
    spec = module.__spec__.name
    for known in [known for known in sys.modules if f"{known}.".startswith(f"{earlier}.")]:
        del sys.modules[known]
    with pytest.warns(DeprecationWarning, match=f"{earlier} is now {current}"):
        assert importlib.import_module(earlier) is module
    assert getattr(module, name) and module.__spec__.name == spec == module.__name__


def test_a_module_that_never_was_is_not_found():
    for name in ("codec.train.teachers.nobody", "codec.model.nothing"):
        with pytest.raises(ModuleNotFoundError, match=name):
            importlib.import_module(name)
