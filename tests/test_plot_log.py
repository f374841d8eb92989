"""Learning curves: what counts as a record, and that a picture comes out."""

import json
import runpy
from pathlib import Path

import pytest

from codec.errors import CodecError

RECIPE = runpy.run_path(str(Path(__file__).parent.parent / "recipes" / "plot_log.py"))


def write_log(path: Path, steps: list[int], mel: float) -> Path:
    records = [{"step": s, "time": 0.0, "mel": mel + s, "perplexity/1": 9.0} for s in steps]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_a_step_repeated_after_a_resume_counts_once(tmp_path):
    log = write_log(tmp_path / "log.jsonl", [1, 2, 3, 2, 3, 4], mel=0.5)
    assert [record["step"] for record in RECIPE["read_log"](log)] == [1, 2, 3, 4]


def test_smoothing_by_hand():
    assert RECIPE["smooth"]([0.0, 3.0, 6.0], 3).tolist() == pytest.approx([1.5, 3.0, 4.5])


def test_runs_in_a_row_become_one_picture(tmp_path):
    logs = tuple(str(write_log(tmp_path / name, [10, 20, 30], 1.0)) for name in ("a.jsonl", "b.jsonl"))
    RECIPE["main"](RECIPE["PlotConfig"](logs=logs, output=str(tmp_path / "curves.png")))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_missing_log_is_said_in_one_line(tmp_path):
    with pytest.raises(CodecError, match="no such log"):
        RECIPE["read_log"](tmp_path / "none.jsonl")


def test_pre_trainings_become_one_picture(tmp_path):
    recipe = runpy.run_path(str(Path(__file__).parent.parent / "recipes" / "plot_pretraining.py"))
    tags = {name for names in recipe["PANELS"].values() for name in names} | {recipe["BASELINE"]}
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        records = [{"step": step, **dict.fromkeys(tags, 2.0), "held_out/prediction": 1.0} for step in (10, 20)]
        (tmp_path / run / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    steps, values = recipe["read_curve"](str(tmp_path / "a"), "held_out/prediction")
    assert steps.tolist() == [10, 20] and values.tolist() == [0.5, 0.5]
    runs = {"MATPAC": (str(tmp_path / "a"),), "MATPAC++": (str(tmp_path / "b"),)}
    recipe["main"](recipe["PlotConfig"](runs, str(tmp_path / "curves.png")))
    assert (tmp_path / "curves.png").stat().st_size > 1000
    with pytest.raises(CodecError, match="no such log"):
        recipe["read_curve"](str(tmp_path / "c"), "agreement")
