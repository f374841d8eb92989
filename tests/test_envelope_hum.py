"""The recipe that looks for a hum at the frame rate."""

import runpy
from pathlib import Path

import numpy as np
import pytest

RECIPE = runpy.run_path(str(Path(__file__).parent.parent / "recipes" / "envelope_hum.py"))


@pytest.mark.parametrize("hum", [None, 50, 100])
def test_it_finds_the_multiple_that_is_modulated(hum):
    noise = 0.1 * np.random.default_rng(0).standard_normal(8 * 16_000)
    if hum is not None:
        noise *= 1 + 0.5 * np.sin(2 * np.pi * hum * np.arange(len(noise)) / 16_000)
    found = dict(zip((50, 100, 150), RECIPE["peaks"](RECIPE["modulation"](noise, 16_000), 50.0, 3), strict=True))
    if hum is None:
        assert max(map(abs, found.values())) < 2.5
    else:
        assert max(found, key=found.get) == hum
        assert found[hum] > 15
