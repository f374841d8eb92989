"""The soak of ``codec serve``, for a moment and without faults."""

import runpy
from pathlib import Path

import pytest

pytest.importorskip("websockets", reason="needs the package websockets")

SOAK = Path(__file__).parents[1] / "recipes" / "soak_serve.py"


def test_without_faults_all_codes_are_the_models_and_nobody_comes_to_harm(tiny_model_dir, capsys):
    recipe = runpy.run_path(str(SOAK))
    # Long enough for one signal of each client: 2 to 4.5 s.
    load = recipe["Load"](
        clients=3, minutes=0.02, faults_per_second=0.0, model=str(tiny_model_dir), engine="torch"
    )
    found, text = recipe["run"](load)
    assert found.broken == [] and found.faults == {}
    assert found.signals >= 3 and found.different == 0
    assert found.codes >= 3 * 100
    assert recipe["value"](text, "codec_serve_clients") == 0
    assert recipe["report"](load, found, text) == 0
    assert "signals                      3 complete, 0 broken" in capsys.readouterr().out
