"""Linear probes and fine-tuning of encoders, on audio and codes whose meaning is known by construction."""

import dataclasses
import json
import os
import shutil

import numpy as np
import pytest
import soundfile
import torch
from pretraining_runs import ENCODER
from student_models import tiny_student, write_kinds

pytest.importorskip("sklearn")

from codec.align.types import Interval
from codec.cli import main
from codec.config import from_dict
from codec.data import Clip, read_manifest
from codec.encoders.base import EncoderConfig
from codec.encoders.open import open_encoder
from codec.encoders.trainable import open_trainable
from codec.errors import CodecError
from codec.eval.probes import TokenTable, instants, linear, probe_tokens
from codec.eval.probes.answers import mean_average_precision
from codec.eval.probes.encoder_frames import EncoderFrames, encoder_config
from codec.eval.probes.finetune import FinetuneProbe, _Network
from codec.eval.probes.questions import questions
from codec.eval.probes.sources import ModelTokens
from codec.eval.probes.types import ProbeResult
from codec.model.files import save_model
from codec.pretraining.models.config import PatchEncoderConfig
from codec.pretraining.models.files import save_pretrained
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import PatchEncoder
from codec.students.files import save_student


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Clips of four kinds of audio, eight of each."""
    return read_manifest(write_kinds(tmp_path_factory.mktemp("kinds"), (8, 8, 8, 8)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """An encoder of each kind that can be trained further."""
    from conftest import TINY_CONFIG, make_tiny_model

    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    save_pretrained(PatchEncoder(from_dict(PatchEncoderConfig, ENCODER)), root / "patches")
    save_pretrained(FrameEncoder(from_dict(FrameEncoderConfig, {"model": TINY_CONFIG})), root / "frames")
    save_student(tiny_student(), root / "student")
    save_model(make_tiny_model(), root / "codec")
    return root


def probe(source, clips, which, out, **options):
    return probe_tokens(source, clips, None, [which], 0, out, {which: options})[which]


def notes(players=3, pitches=4):
    return [
        Clip(f"{player}-{pitch}.wav", 1.0, speaker=f"p{player}", label=f"n{pitch}", domain="music")
        for player in range(players)
        for pitch in range(pitches)
    ]


def test_planted_classes_are_read_and_shuffled_ones_are_not(kinds, tmp_path):
    source = EncoderFrames("log_mel")
    found = probe(source, kinds, "linear", tmp_path / "a").measure("linear_label_accuracy", "none")
    assert found.value == 1.0 and found.baseline == 0.25 and found.features == "statistics"
    rng = np.random.default_rng(0)
    labels = rng.permutation([clip.label for clip in kinds])
    shuffled = [dataclasses.replace(clip, label=str(label)) for clip, label in zip(kinds, labels, strict=True)]
    found = probe(source, shuffled, "linear", tmp_path / "b").measure("linear_label_accuracy", "none")
    assert found.value < 0.55


def test_notes_are_learned_from_other_pitches_and_other_instruments():
    clips = notes()
    asked = {question.name: question for question in questions(clips, 3, 0)}
    assert asked.keys() == {"instrument", "pitch"}
    for name, group in (("instrument", "label"), ("pitch", "speaker")):
        question = asked[name]
        tested = np.concatenate([fold.test for fold in question.folds])
        assert sorted(tested.tolist()) == list(range(len(clips)))
        for fold in question.folds:
            learned = {getattr(question.clips[i], group) for i in fold.train}
            assert learned.isdisjoint(getattr(question.clips[i], group) for i in fold.test)


def test_tags_are_lists_and_groups_are_held_out_together():
    clips = [
        Clip(f"{number}.wav", 1.0, speaker=f"band{number % 4}", label=tags, domain="music")
        for number, tags in enumerate(["a;b", "b;c", "a;c", "a;b", "c;a", "b;c", "a;b;c", "b;a"])
    ]
    (question,) = questions(clips, 3, 0)
    assert question.several and question.classes == ["a", "b", "c"]
    assert question.truth[6].all() and question.truth[0].tolist() == [True, True, False]
    for fold in question.folds:
        learned = {clips[i].speaker for i in fold.train}
        assert learned.isdisjoint(clips[i].speaker for i in fold.test)


def test_mean_average_precision_is_that_of_scikit_learn():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(0)
    truth, scores = rng.random((40, 3)) < 0.3, rng.random((40, 3))
    weights = np.stack([np.ones(40), rng.integers(0, 3, 40)]).astype(float)
    for weight, value in zip(weights, mean_average_precision(scores, truth, weights), strict=True):
        expected = [
            average_precision_score(truth[:, k], scores[:, k], sample_weight=weight) for k in range(3)
        ]
        assert value == pytest.approx(np.mean(expected))
    assert mean_average_precision(truth.astype(float), truth, weights[:1])[0] == 1.0


def test_tags_of_codes_that_say_them_are_read(tmp_path):
    rng = np.random.default_rng(0)
    clips, codes = [], {}
    for number in range(60):
        tags = sorted(rng.choice(5, 2, replace=False))
        clips.append(Clip(f"{number}.wav", 1.0, label=";".join(f"t{tag}" for tag in tags), domain="music"))
        codes[str(number)] = torch.tensor([tags * 10])
    table = TokenTable(codes, 20.0, codebooks=torch.eye(5)[None])
    found = probe(table, clips, "linear", tmp_path).measure("linear_tags_map", "1")
    assert found.value > 0.95 and found.baseline == pytest.approx(0.4) and found.low > 0.8


def test_phones_are_read_at_the_same_instants_whatever_the_rate(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    clips = [Clip(f"s{i % 3}/{i}.wav", 2.4, speaker=f"s{i % 3}", text="hello") for i in range(6)]
    spoken = {clip.name: rng.integers(3, size=10) for clip in clips}
    intervals = {
        name: [Interval(["SIL", "AH", "T"][phone], 0.24 * i, 0.24 * (i + 1)) for i, phone in enumerate(phones)]
        for name, phones in spoken.items()
    }
    monkeypatch.setattr(instants, "align_clips", lambda asked, cache, skipped: intervals)
    monkeypatch.setattr(linear, "check_aligner", lambda: None)
    values = []
    for repeats, rate in ((12, 50.0), (6, 25.0)):
        codes = {name: torch.from_numpy(phones).repeat_interleave(repeats)[None] for name, phones in spoken.items()}
        result = probe(TokenTable(codes, rate, codebooks=torch.eye(3)[None]), clips, "linear", tmp_path / f"{rate}")
        values.append(result.measure("linear_phone_accuracy", "1").value)
        assert result.measure("linear_phone_accuracy_speech", "1").value == 1.0
    assert values == [1.0, 1.0]


def test_a_codec_has_its_latents_and_its_codes_vectors_read(kinds, tiny_model, tmp_path):
    result = probe(ModelTokens(tiny_model), kinds, "linear", tmp_path)
    found = {(measure.codebooks, measure.features) for measure in result.measures}
    assert found == {("none", "latents"), ("1", "vectors"), ("1-8", "vectors")}
    assert probe(ModelTokens(tiny_model), kinds, "finetune", tmp_path).notes[0].startswith("nothing measured")


@pytest.mark.parametrize("kind", ["patches", "frames", "student", "codec"])
def test_an_encoder_that_is_trained_starts_as_the_frozen_one(folders, kinds, kind):
    """The same vector with gradients as without, and training reaches all of the weights that make it."""
    name = str(folders / kind)
    start, frozen = open_trainable(name), open_encoder(encoder_config(name))
    generator = torch.Generator().manual_seed(0)
    count = start.window_of(5 * 2**9)
    wav = 0.1 * torch.randn(count, generator=generator)
    vector = start.vectors(wav[None])
    assert torch.allclose(vector[0].detach(), frozen.pooled().encode([wav])[0][0], atol=1e-4)
    vector.square().sum().backward()
    reached = [value.grad is not None and bool(value.grad.any()) for value in start.module.parameters()]
    assert sum(reached) > 0.8 * len(reached)


@pytest.mark.parametrize("kind", ["patches", "student"])
def test_fine_tuning_learns_and_leaves_the_file_as_it_is(folders, kinds, kind, tmp_path):
    source = EncoderFrames(str(folders / kind))
    before = {path: path.read_bytes() for path in (folders / kind).iterdir()}
    result = probe(source, kinds, "finetune", tmp_path, folds=2, steps=60, lr=5e-3, seconds=0.5)
    assert result.measure("finetune_label_accuracy", "none").value > 0.8
    assert before == {path: path.read_bytes() for path in (folders / kind).iterdir()}


def test_fine_tuning_sees_nothing_of_the_clips_that_are_tested(folders, kinds):
    question = next(question for question in questions(kinds, 2, 0) if question.name == "label")
    scores = []
    for noise in (False, True):
        start = open_trainable(str(folders / "patches"))
        generator = torch.Generator().manual_seed(1)
        wavs = [0.1 * torch.randn(2500, generator=generator) for _ in question.clips]
        fold = question.folds[0]
        if noise:
            for clip in fold.test[1:]:
                wavs[clip] = torch.randn(2500, generator=generator)
        torch.manual_seed(0)
        network = _Network(start, question, wavs, FinetuneProbe.Config(steps=3, seconds=0.5))
        network.learn(fold.train, np.random.default_rng(0))
        scores.append(network.scores(fold.test[0]))
    assert np.array_equal(scores[0], scores[1])


def test_results_are_kept_as_long_as_recordings_and_encoder_are_the_same(folders, tmp_path, monkeypatch):
    clips = read_manifest(write_kinds(tmp_path / "kinds", (1, 1, 1, 1)))
    encoder = shutil.copytree(folders / "student", tmp_path / "student")
    runs = []
    monkeypatch.setattr(linear.LinearProbe, "check", lambda probe, task: None)
    monkeypatch.setattr(linear.LinearProbe, "run", lambda probe, task: runs.append(task) or ProbeResult("linear", []))

    def number_of_runs():
        probe(EncoderFrames(str(encoder)), clips, "linear", tmp_path / "out")
        return len(runs)

    assert [number_of_runs(), number_of_runs()] == [1, 1]
    os.utime(clips[0].audio, (1, 1))
    assert [number_of_runs(), number_of_runs()] == [2, 2]
    # As further training writes it: of the same name and size.
    os.utime(encoder / "model.safetensors", (1, 1))
    assert [number_of_runs(), number_of_runs()] == [3, 3]


def test_an_encoder_of_others_is_frozen_only(kinds, tmp_path):
    result = probe(EncoderFrames("log_mel"), kinds, "finetune", tmp_path)
    assert not result.measures and "only encoders that this project trains" in result.notes[0]


def test_log_mel_statistics_are_means_and_deviations_of_its_frames():
    wav = 0.1 * torch.randn(8000)
    statistics, frames = (
        open_encoder(EncoderConfig(model="log_mel", output=output)).encode([wav])[0]
        for output in ("statistics", "frames")
    )
    assert frames.shape == (50, 80)
    # Those whose windows lie inside the clip.
    whole = frames[:48]
    expected = torch.cat([whole.mean(dim=0), whole.std(dim=0, correction=0)])
    assert torch.allclose(statistics[0], expected, atol=1e-6)
    for length in (100, 161, 16_159):
        assert len(open_encoder(EncoderConfig(model="log_mel", output="frames")).encode([wav.new_ones(length)])[0])
    with pytest.raises(CodecError, match="is none of statistics, frames"):
        open_encoder(EncoderConfig(model="log_mel", output="bands"))


def test_names_of_encoders_say_their_output_or_layer(tmp_path):
    assert encoder_config("a/b@penultimate").output == "penultimate"
    assert encoder_config("a/b@last").layer == "last" and encoder_config("a/b@3").layer == 3
    (tmp_path / "odd@name").mkdir()
    assert encoder_config(str(tmp_path / "odd@name")).model == str(tmp_path / "odd@name")


def test_the_command_probes_encoders_without_a_model(kinds, folders, tmp_path, capsys):
    manifest = str(tmp_path / "kinds.jsonl")
    lines = [{"path": str(clip.audio), "seconds": clip.seconds, "label": clip.label} for clip in kinds]
    soundfile.write(tmp_path / "bad.wav", np.zeros(0), 4000)
    lines.append({"path": str(tmp_path / "bad.wav"), "seconds": 1.0, "label": "kind0"})
    (tmp_path / "kinds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["eval", manifest, "--workers", "0", "--out", str(tmp_path / "report")]
    encoders = ["--encoder", "log_mel", "--encoder", str(folders / "student")]
    assert main([*arguments, *encoders, "--probes", "linear"]) == 0
    assert "linear label accuracy" in capsys.readouterr().out
    content = json.loads((tmp_path / "report" / "report.json").read_text())
    assert content["probes"]["log_mel"]["linear"]["measures"][0]["value"] == 1.0
    assert [entry["clip"] for entry in content["probes"]["log_mel"]["linear"]["skipped"]]
    assert str(folders / "student") in (tmp_path / "report" / "report.md").read_text()
    for wrong, message in (
        (["--encoder", "log_mel"], "add --probes linear or finetune"),
        (["--encoder", "log_mel", "--probes", "notes"], "name one with --model"),
        (["--encoder", "log_mel@bands", "--probes", "linear"], "none of statistics, frames"),
        (["--encoder", "log_mel", "--codebooks", "1", "--probes", "linear"], "--codebooks is of our models"),
    ):
        assert main([*arguments, *wrong]) == 1
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("which", "options", "message"),
    [
        ("linear", {"folds": 1}, "folds must be at least 2"),
        ("linear", {"strength": 0.0}, "above 0"),
        ("finetune", {"steps": 0}, "steps and batch_size 1"),
        ("linear", {}, "two or more of `speaker` or `label` with 5 clips each"),
        ("finetune", {}, "single notes or tags"),
    ],
)
def test_what_is_wrong_is_found_before_work(tmp_path, which, options, message):
    clips = [Clip(f"{i}.wav", 1.0, speaker=f"s{i}") for i in range(6)]
    with pytest.raises(CodecError, match=message):
        probe(EncoderFrames("log_mel"), clips, which, tmp_path, **options)
