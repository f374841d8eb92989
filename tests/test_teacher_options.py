"""A cache of features counts only for the teacher that made it: options are compared, and no model is needed for it."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import ClassVar

import pytest
import soundfile
import yaml
from conftest import make_speech
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from student_models import distill_values, tiny_student
from tiny_teachers import save_hubert
from training_runs import run_values

from codec.cli.distill import main as distill
from codec.cli.features import main as extract
from codec.cli.train import main as train
from codec.data import Clip, write_manifest
from codec.data.loading.source import open_features
from codec.data.store import open_store
from codec.distilling.targets import read_vectors
from codec.errors import CodecError
from codec.registry import Registry
from codec.students.files import save_student
from codec.teachers import build_teacher, registry
from codec.teachers.features import FeatureCache, FeatureInfo
from codec.teachers.features.extract import extract_features
from codec.teachers.teaching import TeacherSource

STATISTICS = {"type": "embedding", "model": "log_mel"}
FRAMES = {"type": "embedding", "model": "log_mel", "output": "frames"}
POOLED = {"type": "pooled", "of": FRAMES}
SHORT = "safetensors: "


@pytest.fixture
def clips(tmp_path) -> list[Clip]:
    for number in range(2):
        soundfile.write(tmp_path / f"{number}.wav", make_speech(1.0, seed=number), 16_000)
    return [Clip(f"{number}.wav", 1.0, root=str(tmp_path)) for number in range(2)]


@pytest.fixture
def cached(tmp_path, clips):
    """Returns a function that fills the folder ``features`` by a teacher ``t`` of these options."""

    def fill(options: dict) -> Path:
        cache = FeatureCache(tmp_path / "features", "t")
        report = extract_features(clips, build_teacher("t", options), cache, {}, 60.0)
        assert not report.failures
        return tmp_path / "features"

    return fill


def forget_options(folder: Path) -> None:
    """Make all files of a cache those of a version that kept no options."""
    for path in folder.rglob("*.safetensors"):
        with safe_open(path, "pt") as file:
            metadata = {key: value for key, value in file.metadata().items() if key != "options"}
        save_file(load_file(path), path, metadata)


def learn(tmp_path: Path, clips: list[Clip], **source) -> None:
    """Open a teacher as codec train does."""
    store = open_store(clips, 16_000, tmp_path / "audio", None)
    open_features({"t": TeacherSource(**{"features": str(tmp_path / "features"), **source})}, None, store)


def differing(made: dict, **changes) -> dict:
    """Options with some changed; ``None`` leaves one out."""
    return {key: value for key, value in {**made, **changes}.items() if value is not None}


WHOLE = {"type": "embedding", "model": "log_mel", "output": "frames", "level": "clip"}
OTHERS = [
    (STATISTICS, POOLED, "type 'embedding' instead of 'pooled'"),
    (STATISTICS, differing(STATISTICS, model="no/such-model"), "model 'log_mel' instead of 'no/such-model'"),
    (STATISTICS, WHOLE, "output unset instead of 'frames'"),
    (WHOLE, differing(WHOLE, output=None), "output 'frames' instead of unset"),
    (STATISTICS, differing(STATISTICS, max_seconds=5.0), "max_seconds unset instead of 5.0"),
    (STATISTICS, differing(STATISTICS, type="music"), "type 'embedding' instead of 'music'"),
    (POOLED, {**POOLED, "pool": "mean_std"}, "pool unset instead of 'mean_std'"),
    (POOLED, {**POOLED, "of": {**FRAMES, "model": "other"}}, "of.model 'log_mel' instead of 'other'"),
    (POOLED, {**POOLED, "of": {**FRAMES, "tail_seconds": 2.0}}, "of.tail_seconds unset instead of 2.0"),
]


@pytest.mark.parametrize(("made", "wanted", "message"), OTHERS)
def test_a_complete_cache_of_other_options_is_refused_and_of_the_same_is_taken(
    tmp_path, clips, cached, made, wanted, message
):
    folder = str(cached(made))
    refused = SHORT + message
    read_vectors(TeacherSource(features=folder, name="t", extract=made), clips)
    read_vectors(TeacherSource(features=folder, name="t"), clips)
    learn(tmp_path, clips, extract=made)
    learn(tmp_path, clips)
    with pytest.raises(CodecError, match=refused):
        read_vectors(TeacherSource(features=folder, name="t", extract=wanted), clips)
    with pytest.raises(CodecError, match=refused):
        learn(tmp_path, clips, extract=wanted)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": {}}, "output 'frames' instead of unset"),
        ({"options": {"output": "statistics"}}, "output 'frames' instead of 'statistics'"),
        ({"options": {"output": "frames", "level": "clip"}}, "level unset instead of 'clip'"),
        ({"kind": "speech"}, "type 'embedding' instead of 'speech'"),
    ],
)
def test_a_teacher_by_kind_is_compared_too(tmp_path, clips, cached, changes, message):
    source = {"kind": "embedding", "model": "log_mel", "options": {"output": "frames"}}
    cached(FRAMES)
    learn(tmp_path, clips, **source)
    learn(tmp_path, clips, **source, rate=100.0)
    learn(tmp_path, clips, **{**source, "options": {**source["options"], "device": "cuda", "level": "frame"}})
    with pytest.raises(CodecError, match=SHORT + message):
        learn(tmp_path, clips, **{**source, **changes})


def test_layers_that_are_left_out_are_the_default_ones(tmp_path, clips, cached):
    model = save_hubert(tmp_path / "hubert")
    cached({"type": "speech", "model": model, "layer": [1, 2]})
    learn(tmp_path, clips, kind="speech", model=model, layers=[1, 2])
    learn(tmp_path, clips, kind="speech", model=model, layers="1,2")
    with pytest.raises(CodecError, match=SHORT + "layer '1,2' instead of unset"):
        learn(tmp_path, clips, kind="speech", model=model)


@pytest.mark.parametrize("verb", [train, distill])
def test_a_verb_ends_with_one_line(tmp_path, clips, cached, capsys, verb):
    write_manifest(tmp_path / "m.jsonl", clips)
    made = STATISTICS if verb is distill else FRAMES
    source = {"features": str(cached(made)), "extract": {**made, "max_seconds": 5.0}}
    if verb is distill:
        data = {"manifests": [str(tmp_path / "m.jsonl")], "cache": str(tmp_path / "audio"), "held_out": 1}
        changes = {"teacher": {**source, "name": "t"}, "clusters": None, "data": data}
        values = distill_values(tmp_path, tmp_path / "m.jsonl", **changes)
    else:
        values = run_values(tmp_path, tmp_path / "m.jsonl", teachers={"t": source})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    capsys.readouterr()
    assert verb(arguments=["--config", str(tmp_path / "run.yaml")]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("codec: error: ") and "safetensors: max_seconds unset instead of 5.0; use another" in line
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_extraction_refuses_options_that_its_description_does_not_show(tmp_path, clips, capsys):
    write_manifest(tmp_path / "m.jsonl", clips)
    places = [f"manifest={tmp_path / 'm.jsonl'}", f"cache={tmp_path / 'features'}"]
    arguments = [*places, f"teachers.t={json.dumps(FRAMES)}"]
    assert extract(arguments) == 0
    # What is declared is what the model has; a device changes nothing.
    assert extract([*arguments, "teachers.t.rate=100", "teachers.t.device=cpu"]) == 0
    assert extract([*arguments, "teachers.t.max_seconds=5"]) == 1
    assert "max_seconds unset instead of 5.0; use another cache folder" in capsys.readouterr().err
    FeatureCache(tmp_path / "features", "t").path(clips[1]).unlink()
    assert extract([*arguments, "teachers.t.max_seconds=5"]) == 1
    assert FeatureCache(tmp_path / "features", "t").missing(clips) == clips[1:]
    with pytest.raises(CodecError, match="max_seconds unset instead of 5.0"):
        learn(tmp_path, clips, extract={**FRAMES, "max_seconds": 5.0})


def test_a_cache_that_two_runs_have_mixed_is_refused(tmp_path, clips, cached):
    cached(FRAMES)
    path = FeatureCache(tmp_path / "features", "t").path(clips[1])
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    options = {**json.loads(metadata["options"]), "dtype": "x"}
    save_file(load_file(path), path, {**metadata, "options": json.dumps(options)})
    with pytest.raises(CodecError, match="dtype 'x' instead of unset"):
        learn(tmp_path, clips)


def test_a_cache_without_options_counts_by_what_a_config_says_alone(tmp_path, clips, cached):
    forget_options(cached(POOLED))
    source = {"features": str(tmp_path / "features"), "name": "t"}
    assert read_vectors(TeacherSource(**source), clips).info.options == ""
    for unknown in (POOLED, {**POOLED, "of": {**FRAMES, "max_seconds": 5.0}}):
        read_vectors(TeacherSource(**source, extract=unknown), clips)
    for other, message in (
        ({**POOLED, "pool": "mean_std"}, "mode 'embedding mean' instead of 'embedding mean_std'"),
        (STATISTICS, "mode 'embedding mean' instead of 'embedding'"),
        ({**POOLED, "of": {**FRAMES, "output": "statistics"}}, "layer 'frames' instead of 'statistics'"),
        ({**POOLED, "of": {**FRAMES, "model": "no/such-model"}}, "teacher 'log_mel' instead of 'no/such-model'"),
        ({**POOLED, "of": {**FRAMES, "rate": 50.0}}, "rate 100.0 instead of 50.0"),
    ):
        with pytest.raises(CodecError, match=SHORT + message):
            read_vectors(TeacherSource(**source, extract=other), clips)


def test_a_cache_without_options_counts_for_kind_and_model(tmp_path, clips, cached):
    model = save_hubert(tmp_path / "hubert")
    forget_options(cached({"type": "speech", "model": model, "layer": "last"}))
    for source in ({}, {"kind": "speech", "model": model}, {"extract": {"type": "speech", "model": model}}):
        learn(tmp_path, clips, **source)
    for other, message in (
        ({"kind": "speech", "model": model, "layers": "avg"}, "layer 'last' instead of 'avg'"),
        ({"extract": {"type": "speech", "model": model, "layer": "avg"}}, "layer 'last' instead of 'avg'"),
        ({"kind": "speech", "model": "openai/whisper-base"}, "teacher 'hubert' instead of 'openai/whisper-base'"),
        ({"kind": "speech", "model": model, "options": {"level": "clip"}}, "level 'frame' instead of 'clip'"),
    ):
        with pytest.raises(CodecError, match=SHORT + message):
            learn(tmp_path, clips, **other)


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("source", ["kind", "extract"])
def test_a_complete_cache_needs_no_model_and_none_of_its_paths(tmp_path, clips, cached, recorded, source):
    folder = cached({"type": "speech", "model": save_hubert(tmp_path / "hubert")})
    if not recorded:
        forget_options(folder)
    assert str(tmp_path) not in next(folder.rglob("*.safetensors")).read_bytes().decode("latin-1")
    shutil.rmtree(tmp_path / "hubert")

    def of(model: str) -> dict:
        if source == "kind":
            return {"kind": "speech", "model": model}
        return {"extract": {"type": "speech", "model": model}}

    for model in (str(tmp_path / "hubert"), "../models/hubert", "models/hubert"):
        learn(tmp_path, clips, **of(model))
    for model in ("../models/wavlm", "facebook/hubert-base-ls960", "hubert/other"):
        with pytest.raises(CodecError, match=f"'hubert' instead of '{model}'"):
            learn(tmp_path, clips, **of(model))
    # The name that a cache has for a model counts, where the config gives it.
    learn(tmp_path, clips, **of("facebook/hubert-base-ls960"), teacher="hubert")


def test_our_own_models_are_known_by_their_weights(tmp_path, clips, cached, tiny_model_dir, other_model_dir):
    for seed, name in enumerate(("one", "two")):
        save_student(tiny_student(seed), tmp_path / name / "export")
    cached({"type": "embedding", "model": str(tmp_path / "one" / "export")})
    shutil.copytree(tmp_path / "one", tmp_path / "copy")
    learn(tmp_path, clips, extract={"type": "embedding", "model": str(tmp_path / "copy" / "export")})
    two = str(tmp_path / "two" / "export")
    with pytest.raises(CodecError, match=r"model 'student-\w+' instead of 'student-\w+'"):
        learn(tmp_path, clips, extract={"type": "embedding", "model": two})
    shutil.rmtree(tmp_path / "two")
    # Nothing is known of weights that are not there, but a hub id is no folder of ours.
    learn(tmp_path, clips, extract={"type": "embedding", "model": two})
    with pytest.raises(CodecError, match="instead of 'openai/whisper-base'"):
        learn(tmp_path, clips, extract={"type": "embedding", "model": "openai/whisper-base"})
    shutil.rmtree(tmp_path / "features")
    cached({"type": "embedding", "model": str(tiny_model_dir)})
    learn(tmp_path, clips, kind="embedding", model=str(tiny_model_dir))
    with pytest.raises(CodecError, match=r"model 'codec-\w+' instead of 'codec-\w+'"):
        learn(tmp_path, clips, kind="embedding", model=str(other_model_dir))


def test_unknown_options_are_an_error_with_a_complete_cache_too(tmp_path, clips, cached):
    cached(FRAMES)
    with pytest.raises(CodecError, match=r"teachers\.t: unknown key 'outpt'; did you mean 'output'"):
        learn(tmp_path, clips, extract={**FRAMES, "outpt": "frames"})


@dataclasses.dataclass
class NoOptions:
    """Of a teacher without any."""


FIXED = FeatureInfo("fixed", "last", 10.0, 0.0, "toy", 2)


@dataclasses.dataclass(frozen=True)
class FixedTeacher:
    """Nothing of it can be set."""

    config: NoOptions
    info: FeatureInfo = FIXED
    Config: ClassVar = NoOptions


def test_a_teacher_whose_description_cannot_be_set_is_built_all_the_same(monkeypatch):
    monkeypatch.setattr(registry, "_TEACHERS", Registry("teacher"))
    registry.teacher("fixed")(FixedTeacher)
    assert build_teacher("t", {"type": "fixed"}).info.options == ""
