"""Metrics that resemble a training loss of the model are marked, and no others."""

import json
import shutil

import pytest
from eval_helpers import bundled_speech, write_clips

from codec.cli.app import main
from codec.errors import CodecError
from codec.eval.measures import MetricSettings, build_measures
from codec.eval.training import Training, read_training
from codec.model.files import find_model


@pytest.fixture
def manifest(tmp_path):
    return write_clips(tmp_path / "data", {"a-0": bundled_speech(1.0), "b-0": bundled_speech(1.0, 1.5)})


def with_losses(folder, source, *losses):
    shutil.copytree(source, folder)
    (folder / "training.json").write_text(json.dumps({"losses": losses}))
    return folder


def test_a_loss_is_found_by_its_name_and_by_its_teacher():
    training = Training(["mel", "loudness", "distill_sm:whisper"])
    assert training.like(("loudness",)) == ["loudness"]
    assert training.like(("whisper",)) == ["distill_sm:whisper"]
    assert training.like(("distill_sm", "mel")) == ["mel", "distill_sm:whisper"]
    assert training.like(("whisper_features", "loud")) == []
    assert training.like(()) == []


@pytest.mark.parametrize(
    ("measure", "loss"),
    [("pesq", "loudness"), ("wer", "whisper_features"), ("wer", "features:whisper"), ("mel", "mel")],
)
def test_each_measure_knows_what_it_resembles(measure, loss):
    from codec.eval.measures.registry import MEASURES

    settings = MetricSettings(asr="some/whisper-base")
    metric = MEASURES[measure].from_settings(settings)
    assert Training([loss, "commitment"]).like(metric.resembles) == [loss]


def test_a_recogniser_that_is_not_the_teacher_is_not_marked():
    other = build_measures(["wer"], MetricSettings(asr="some/wav2vec2"))[0]
    assert Training(["whisper_features", "distill_sm:whisper"]).like(other.resembles) == []


def test_the_shipped_model_tells_losses_that_are_registered():
    from codec.train import losses  # noqa: F401  (they register themselves)
    from codec.train.losses.registry import _LOSSES, typed_options

    training = read_training(find_model("default"))
    assert training is not None and training.losses
    names = {loss.partition(":")[0] for loss in training.losses}
    assert {typed_options(name, {})["type"] for name in names} <= set(_LOSSES)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cannot be read as JSON"), ('{"loses": []}', "loses"), ('{"losses": "mel"}', "losses")],
)
def test_a_file_that_is_wrong_is_told_before_work(text, message, manifest, tmp_path, tiny_model_dir, capsys):
    folder = with_losses(tmp_path / "wrong", tiny_model_dir)
    (folder / "training.json").write_text(text)
    with pytest.raises(CodecError, match=message):
        read_training(folder)
    out = tmp_path / "report"
    assert main(["eval", str(manifest), "-m", str(folder), "--measures", "mel", "--out", str(out)]) == 1
    assert message in capsys.readouterr().err and not out.exists()


def test_every_table_marks_the_figures_of_the_model_that_was_trained_on_them(
    manifest, tmp_path, tiny_model_dir, capsys
):
    trained = with_losses(tmp_path / "trained", tiny_model_dir, "stft", "commitment")
    clean = with_losses(tmp_path / "clean", tiny_model_dir, "commitment")
    out = tmp_path / "report"
    arguments = ["eval", manifest, "-m", trained, "-m", clean, "-m", tiny_model_dir]
    arguments += ["--codebooks", 8, "--measures", "mel,stoi", "--workers", 0, "--out", out]
    assert main([str(argument) for argument in arguments]) == 0
    systems = {s["label"]: s for s in json.loads((out / "report.json").read_text())["systems"]}
    assert systems["trained@8"]["marks"] == {"mel": ["stft"]}
    assert systems["clean@8"]["marks"] == systems["original"]["marks"] == {}
    footnote = "* the figure resembles a loss that the model was trained with, and so flatters it: trained: mel distance (stft)"
    untold = "tiny: no training.json lists the losses it was trained with"
    mel = f"{systems['trained@8']['figures']['mel']['value']:.3f}"
    # All three models are one, so an unmarked figure stands beside the marked.
    printed = " ".join(capsys.readouterr().out.split())
    markdown, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    for text in (printed, markdown.replace("\\*", "*"), page):
        assert text.count(f"{mel}*") == 1 and text.count(mel) >= 3
        assert footnote in text and untold in text
    assert "\n\\* the figure" in markdown


def test_nothing_is_said_where_nothing_is_marked(manifest, tmp_path, tiny_model_dir, capsys):
    clean = with_losses(tmp_path / "clean", tiny_model_dir, "commitment")
    arguments = [
        "eval",
        manifest,
        "-m",
        clean,
        "--measures",
        "mel,stoi",
        "--workers",
        0,
        "--out",
        tmp_path / "out",
    ]
    assert main([str(argument) for argument in arguments]) == 0
    assert "*" not in capsys.readouterr().out
    assert "resembles" not in (tmp_path / "out" / "report.md").read_text()


def test_probes_are_marked_in_their_tables(tmp_path):
    from codec.eval.probes import ProbeResult, resemblances, to_markdown
    from codec.eval.probes.types import Finding

    measure = Finding("phone_accuracy", "1", "one-hot", 0.5, None, None, 0.1, "higher", 9, 3, "speaker")
    results = {name: ProbeResult(name, [measure]) for name in ("phone", "speaker")}
    lines = to_markdown(results, {"phone": ["phones"]}).splitlines()
    assert "| 0.500* |" in lines[2] and "| 0.500 |" in lines[3]
    assert Training(["phones"]).like(resemblances(["phone"])["phone"]) == ["phones"]
    assert resemblances(["speaker"]) == {"speaker": ()}
