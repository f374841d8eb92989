"""Hum and level: what is planted is read, what is not is not."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from eval_helpers import RATE, bundled_speech, pair
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.eval.measures import MetricSettings, build_measures
from codec.eval.measures.hum import HUM_FREQUENCIES
from codec.eval.types import Skip

RECIPE = Path(__file__).parent.parent / "recipes" / "envelope_hum.py"


def metric(name: str):
    return build_measures([name], MetricSettings())[0]


def noise(seconds: float, hum: float | None, depth: float = 0.5, seed: int = 0) -> np.ndarray:
    """White noise, its level modulated at ``hum`` Hz."""
    wav = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    if hum is not None:
        wav *= 1 + depth * np.sin(2 * np.pi * hum * np.arange(len(wav)) / RATE)
    return wav.astype(np.float32)


@pytest.mark.parametrize("hum", [None, *HUM_FREQUENCIES])
def test_it_finds_the_frequency_that_is_modulated(hum):
    wav = noise(8, hum)
    found = metric("hum")(pair(wav, wav))
    values = {frequency: found[f"hum_{frequency}"] for frequency in HUM_FREQUENCIES}
    if hum is None:
        assert max(map(abs, values.values())) < 2.5
    else:
        assert max(values, key=values.get) == hum
        assert values[hum] > 15


def test_hum_grows_with_the_depth_of_the_modulation_and_not_with_the_gain():
    found = [
        metric("hum")(pair(wav, wav))["hum_100"] for wav in (noise(8, 100, depth) for depth in (0.1, 0.3, 0.9))
    ]
    assert found == sorted(found)
    wav = noise(8, 100)
    once, twice = (metric("hum")(pair(wav, gain * wav))["hum_100"] for gain in (1, 2))
    assert once == pytest.approx(twice, abs=0.1)


def test_hum_below_the_crossover_is_not_read():
    time = np.arange(4 * RATE) / RATE
    low = (0.5 * np.sin(2 * np.pi * 300 * time) * (1 + 0.5 * np.sin(2 * np.pi * 100 * time))).astype(
        np.float32
    )
    quiet = low + 0.1 * noise(4, None)
    assert abs(metric("hum")(pair(quiet, quiet))["hum_100"]) < 3


def test_hum_of_a_set_is_that_of_all_its_windows():
    measure = metric("hum")
    values = [measure(pair(wav, wav)) for wav in (noise(4, 100, seed=1), noise(8, None, seed=2))]
    table = {name: np.array([value[name] for value in values]) for name in values[0]}
    one, other, both = (
        measure.pool("hum_100", table, np.array([w]))[0] for w in ([1, 0], [0, 1], [1.0, 1.0])
    )
    assert [one, other] == pytest.approx([value["hum_100"] for value in values])
    powers = [table["hum_100_power"].sum(), table["hum_100_beside"].sum()]
    assert both == pytest.approx(10 * np.log10(powers[0] / powers[1]))
    assert other < both < one


@pytest.mark.parametrize(
    ("wav", "reason"), [(noise(0.9, None), "second"), (np.zeros(RATE, np.float32), "silent")]
)
def test_hum_of_what_has_no_envelope_is_skipped(wav, reason):
    with pytest.raises(Skip, match=reason):
        metric("hum")(pair(noise(len(wav) / RATE, None), wav))


def test_the_recipe_describes_hum_by_the_same_figures():
    import torch

    recipe = runpy.run_path(str(RECIPE))
    wav = noise(4, 100)
    said = recipe["describe"]([torch.from_numpy(wav)], recipe["HumConfig"]("clips.jsonl"), 50.0)
    found = metric("hum")(pair(wav, wav))
    assert said == ", ".join(f"{found[f'hum_{f}']:+.1f} dB at {f} Hz" for f in HUM_FREQUENCIES)


def test_the_recipe_counts_the_shapes_of_frames():
    import torch

    recipe = runpy.run_path(str(RECIPE))
    generator = torch.Generator().manual_seed(0)
    templates = torch.randn(3, 320, generator=generator)
    mixed = (torch.randn(4_000, 3, generator=generator) @ templates).flatten()
    white = torch.randn(1_280_000, generator=generator)
    ranks = {
        name: recipe["effective_rank"](recipe["frame_spectra"](wav, 320)[:, 40:60])
        for name, wav in (("mixed", mixed), ("white", white))
    }
    # A frame covers two hops of three shapes each; white noise has nearly as many as its bins have parts.
    assert 2 < ranks["mixed"] <= 6 and 24 < ranks["white"] <= 40
    said = recipe["describe_shapes"]([white], recipe["HumConfig"]("clips.jsonl", up_to=1000.0), 50.0)
    assert said.startswith("shapes of frames in bands of 500 Hz: ") and said.count(", ") == 1


@settings(deadline=None, max_examples=30)
@given(st.floats(-60, 30), st.integers(0, 100))
def test_a_gain_of_so_many_decibels_is_read_as_such(decibels, seed):
    wav = noise(0.2, None, seed=seed)
    louder = (wav * 10 ** (decibels / 20)).astype(np.float32)
    assert metric("level")(pair(wav, louder))["level"] == pytest.approx(decibels, abs=1e-3)
    assert metric("level")(pair(louder, wav))["level"] == pytest.approx(-decibels, abs=1e-3)


def test_the_level_of_a_recording_is_its_own_and_of_silence_is_cut_off():
    speech = bundled_speech(1.0)
    assert metric("level")(pair(speech, speech))["level"] == 0.0
    assert metric("level")(pair(speech, np.zeros_like(speech)))["level"] == -100.0
