"""The recipe that compares students: equal terms, nothing done twice, and a table with what the reports say."""

import json
import sys
from pathlib import Path

import pytest
from student_models import distill_values, write_kinds, write_vectors

pytest.importorskip("sklearn")
sys.path.append(str(Path(__file__).parents[1] / "recipes"))

import compare_students as recipe
from compare_students import Result, StudentsConfig, compare_students, estimate, plan, read_result

from codec.config import from_dict
from codec.errors import CodecError
from codec.settings import read_config


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A distillation of a few steps with a probe, as YAML."""
    folder = tmp_path_factory.mktemp("students")
    manifest = write_kinds(folder / "data", (20, 4, 4, 4))
    write_vectors(folder / "features", manifest)
    probe = {"manifests": [str(manifest)], "labels": ["label"], "shots": [1], "draws": 2, "folds": 2}
    values = distill_values(folder, manifest, max_steps=2, teacher_parameters=1e5, probe=probe)
    del values["output"]
    path = folder / "base.yaml"
    path.write_text(json.dumps(values))  # JSON is YAML.
    return path


def comparison(base, output, **changes) -> StudentsConfig:
    values = {
        "base": str(base), "output": str(output), "seeds": [0, 1], "variant_seeds": {"plain": [0]},
        "variants": {"cosine": {}, "plain": {"clusters": None}},
    }  # fmt: skip
    return from_dict(StudentsConfig, {**values, **changes})


def test_every_variant_has_its_seeds_and_the_table_says_what_the_reports_say(base, tmp_path, monkeypatch):
    config = comparison(base, tmp_path)
    assert compare_students(config) == 0
    found = {key: read_result(Path(run.output) / "report.json") for key, run in plan(config).items()}
    assert list(found) == [("cosine", 0), ("plain", 0), ("cosine", 1)]
    assert found["plain", 0].effective == pytest.approx(1.0) and found["cosine", 0].effective < 0.9
    rows = (tmp_path / "table.md").read_text().splitlines()
    assert rows[0].startswith("| student |") and len({row.count("|") for row in rows}) == 1
    cells = [cell.strip() for cell in rows[3].split("|")[1:-1]]
    plain = found["plain", 0]
    assert cells[:4] == ["plain", f"{plain.parameters:,}", f"{1e5 / plain.parameters:.1f}", "1"]
    assert cells[6] == f"{100 * plain.retained():.1f}" and "±" in rows[2]
    before = (tmp_path / "results.json").read_bytes()
    monkeypatch.setattr(recipe, "distill", lambda run: pytest.fail("a finished run was repeated"))
    assert compare_students(config) == 0
    assert (tmp_path / "results.json").read_bytes() == before


def test_results_of_other_settings_are_refused_and_not_mixed_in(base, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "distill", lambda run: _fake(Path(run.output)))
    compare_students(comparison(base, tmp_path))
    with pytest.raises(CodecError, match="seed-0: was made with other settings"):
        compare_students(comparison(base, tmp_path, overrides={"ema_decay": 0.5}))


def _fake(folder: Path) -> int:
    folder.mkdir(parents=True)
    probe = {"measures": [{"name": "label_accuracy_full", "value": 0.5}]}
    report = {
        "student": {"parameters": 10}, "held_out": {"gain": 0.1}, "clips": {"effective": 3.0, "training": 4},
        "probes": {"teacher": probe, "student": probe, "untrained": probe},
    }  # fmt: skip
    (folder / "report.json").write_text(json.dumps(report))
    return 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"variants": {"cosine": {"seed": 3}}, "variant_seeds": {}}, "cosine.seed: the comparison sets it itself"),
        ({"overrides": {"output": "x"}}, "overrides.output: the comparison sets it itself"),
        ({"variant_seeds": {"cosin": [0]}}, "variant_seeds.cosin: no such variant"),
        ({"variants": {"cosine": {"ema_decay": 2.0}}, "variant_seeds": {}}, "variant cosine: config ema_decay"),
        ({"variants": {"cosine": {"probe": None}}, "variant_seeds": {}}, "variant cosine: set probe"),
    ],
)
def test_what_is_wrong_is_found_before_the_first_run(base, tmp_path, changes, message):
    with pytest.raises(CodecError, match=message):
        compare_students(comparison(base, tmp_path, **changes))
    assert not list(tmp_path.iterdir())


def test_what_is_retained_is_the_ratio_of_mean_accuracies():
    accuracies = {"teacher": {"a": 0.8, "b": 0.4}, "student": {"a": 0.6, "b": 0.3}, "untrained": {"a": 0.2, "b": 0.1}}
    result = Result(10, None, 0.1, 1.0, accuracies)
    assert result.retained() == pytest.approx(0.75) and result.retained("untrained") == pytest.approx(0.25)
    # Student's t of two values: 12.706 times half their distance.
    assert estimate([0.5, 0.6]) == "55.0 ± 63.5" and estimate([0.5]) == "50.0"


def test_the_shipped_comparison_varies_losses_sizes_sampling_and_teachers():
    runs = plan(read_config(StudentsConfig, "compare_students", []))
    assert {loss for run in runs.values() for loss in run.losses} == {"cosine", "l1", "mse", "kl", "contrastive"}
    assert {run.student.size for run in runs.values()} == {"small", "medium", "large"}
    assert {run.student.architecture for run in runs.values()} == {"mobilenet", "dynamic", "res2net"}
    assert {run.teacher.extract["type"] for run in runs.values()} == {"music", "pooled"}
    assert [variant for (variant, seed), run in runs.items() if run.clusters is None and seed == 0] == ["plain"]
