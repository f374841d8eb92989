"""Configs: strict reading, overrides, and the model's own file."""

import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
import torch

from codec import Codec
from codec.config import from_dict, override, to_dict
from codec.errors import CodecError
from codec.model.config import CodecConfig, config_to_dict, config_to_json, load_config, parse_config


@dataclass(frozen=True)
class Inner:
    size: int = 3
    rate: float = 0.5


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = Inner()
    mode: Literal["fast", "slow"] = "fast"
    limit: int | None = None
    weights: dict[str, float] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)


def test_plain_data_becomes_dataclasses_and_back():
    values = {
        "name": "x",
        "inner": {"size": 4, "rate": 1.0},
        "mode": "slow",
        "limit": 7,
        "weights": {"mel": 2.0},
        "sizes": [1, 2],
    }
    config = from_dict(Outer, values)
    assert config == Outer("x", Inner(4, 1.0), "slow", 7, {"mel": 2.0}, [1, 2])
    assert to_dict(config) == values


@pytest.mark.parametrize("text", ["1e-4", 1e-4])
def test_numbers_as_yaml_reads_them(text):
    assert from_dict(Inner, {"rate": text}).rate == 1e-4


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"name": "x", "iner": {}}, "unknown key 'iner'; did you mean 'inner'"),
        ({"name": "x", "inner": {"qqq": 1}}, "config inner: unknown key 'qqq'; known keys: rate, size"),
        ({}, "name"),
        ({"name": 3}, "expected str, got 3"),
        ({"name": "x", "inner": {"size": "big"}}, "config inner.size: expected int, got 'big'"),
        ({"name": "x", "inner": {"size": True}}, "expected int, got True"),
        ({"name": "x", "inner": 5}, "expected a mapping, got 5"),
        ({"name": "x", "mode": "medium"}, "'medium' is none of fast, slow"),
        ({"name": "x", "limit": 1.5}, "expected int, got 1.5"),
        ({"name": "x", "sizes": [1, "2"]}, r"config sizes\[1\]: expected int"),
        ({"name": "x", "weights": [1]}, "expected a mapping"),
        ([1], "expected a mapping"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where(values, words):
    with pytest.raises(CodecError, match=words):
        from_dict(Outer, values)


def test_overrides_by_dotted_name():
    values = {"name": "x"}
    override(values, "inner.size", 9)
    override(values, "name", "y")
    assert from_dict(Outer, values) == Outer("y", Inner(size=9))
    with pytest.raises(CodecError, match="cannot set name.first"):
        override(values, "name.first", 1)


@pytest.mark.parametrize("architecture", ["spectral", "seanet"])
def test_a_model_config_survives_its_file(tmp_path, architecture):
    config = CodecConfig(architecture=architecture)
    path = tmp_path / "config.json"
    path.write_text(config_to_json(config))
    assert load_config(path) == config
    assert json.loads(path.read_text())["architecture"] == architecture


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sample_rat": 1}, "unknown key 'sample_rat'"),
        ({"architecture": "conformer"}, "unknown architecture 'conformer'; known: "),
        ({"network": {"hops": 320}}, "config network: unknown key 'hops'"),
        ({"network": {"window_length": 1}}, "must be twice"),
        ({"quantizer": {"num_codebooks": "8"}}, "config quantizer.num_codebooks: expected int"),
        ({"quantizer": "fsq"}, "config quantizer: expected its settings, such as {type: rvq}, got 'fsq'"),
        ({"sample_rate": 0}, "config sample_rate: 0 Hz; it must be 1 or more"),
        ({"network": {"encoder_layers": 0}}, "config network: encoder_layers is 0; it must be 1 or more"),
    ],
)
def test_a_wrong_model_config_is_refused(tmp_path, change, words):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(change))
    with pytest.raises(CodecError, match=words):
        load_config(path)


WRONG = (0, -1, None, "x", [], ["x"], {}, {"x": 1}, 1e300, True)


@pytest.mark.parametrize("architecture", ["spectral", "seanet", "mimi", "dac"])
@pytest.mark.parametrize("quantizer", ["rvq", "split_rvq", "fsq"])
def test_any_wrong_setting_of_a_file_is_one_line(architecture, quantizer):
    """Each setting alone is replaced by what it can hardly be: that makes a config whose model can be built, or an error."""
    whole = {"architecture": architecture, "quantizer": {"type": quantizer}, "sample_rate": 16_000}
    whole = config_to_dict(CodecConfig(**whole))
    parts = {name: (whole, name) for name in whole} | {
        f"{part}.{name}": (whole[part], name) for part in ("quantizer", "network") for name in whole[part]
    }
    refusals = []
    for values, name in parts.values():
        for wrong in WRONG:
            before = values[name]
            values[name] = wrong
            try:
                # Of sizes that are too large no model is built, which is no matter of settings.
                config = parse_config(json.dumps(whole))
                if wrong != 1e300:
                    with torch.device("meta"):
                        Codec(config)
            except CodecError as error:
                refusals.append(str(error))
            finally:
                values[name] = before
    assert len(refusals) > 4 * len(parts) and not [line for line in refusals if "\n" in line]


def test_brackets_without_end_are_no_config():
    with pytest.raises(CodecError, match="cannot be read as JSON"):
        parse_config("[" * 100_000)
