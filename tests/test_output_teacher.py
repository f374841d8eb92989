"""A teacher that hears the decoded audio: what it is compared with, and which clips it sees."""

import json

import pytest
import torch
from conftest import make_speech
from training_runs import RECONSTRUCTION, run_config, write_corpus

pytest.importorskip("transformers")

from tiny_teachers import save_whisper

from codec.data.batch import Batch, TeacherClip
from codec.errors import CodecError
from codec.teachers.features import FeatureInfo
from codec.teachers.teaching import TeacherSource, teacher_losses
from codec.train.losses.registry import LossContext, build_loss, told_losses
from codec.train.trainer import Trainer
from codec.train.types import LossInput

SPEECH = torch.from_numpy(make_speech(1.28))[None]
CONTEXT = LossContext(16_000, 4, 2, {"whisper": 1}, frozenset({"whisper"}), name="distill_whisper")


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    return str(save_whisper(tmp_path_factory.mktemp("whisper"), positions=400))


def hearing(whisper, seen, fake):
    loss = build_loss("distill_whisper", {"type": "output_features", "model": whisper, "teacher": "whisper"}, CONTEXT)
    wav = SPEECH[:1].repeat(len(seen), 1) * torch.linspace(0.3, 1.0, len(seen))[:, None]
    mask = torch.tensor(seen)
    batch = Batch(wav, torch.ones(len(seen), 2, dtype=torch.bool), {"whisper": TeacherClip(mask[:, None] * 0.0, mask)})
    return loss(LossInput(wav, fake, batch, None))


def test_clips_of_other_domains_neither_count_nor_are_touched(whisper):
    torch.manual_seed(0)
    fake = (0.1 * torch.randn(3, SPEECH.shape[1])).requires_grad_()
    value = hearing(whisper, [True, False, True], fake)
    value.backward()
    assert (fake.grad.abs().sum(dim=1) > 0).tolist() == [True, False, True]
    other = fake.detach().clone()
    other[1] = float("nan")
    assert torch.equal(hearing(whisper, [True, False, True], other), value.detach())
    nothing = hearing(whisper, [False, False, False], fake)
    assert nothing == 0 and not nothing.requires_grad


def test_a_line_of_the_config_makes_the_loss_and_extracts_nothing(whisper, tmp_path):
    manifest = write_corpus(tmp_path / "data")
    teacher = {
        "kind": "speech", "model": whisper, "attach": "output", "weight": 2.0, "features": str(tmp_path / "features"),
    }  # fmt: skip
    config = run_config(tmp_path, manifest, **RECONSTRUCTION, teachers={"whisper": teacher}, max_steps=2, log_every=1)
    trainer = Trainer(config)
    trainer.run()
    assert not (tmp_path / "features").exists()
    rows = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert all(row["distill_whisper"] > 0 for row in rows if "distill_whisper" in row)
    told = json.loads((tmp_path / "run/export/training.json").read_text())["losses"]
    assert any(loss.startswith("output_features:") for loss in told)


def test_the_loss_names_its_teacher():
    source = TeacherSource(kind="speech", model="openai/whisper-base", attach="output", weight=0.5)
    info = FeatureInfo("openai/whisper-base", "", 0.0, 0.0, "output", 1, "clip")
    losses = teacher_losses({"ear": source}, {"ear": info}, {})
    assert losses == {
        "distill_ear": {"type": "output_features", "weight": 0.5, "teacher": "ear", "model": "openai/whisper-base"}
    }
    assert told_losses(losses, {"ear": info.teacher}) == ["output_features:whisper-base"]


@pytest.mark.parametrize(
    "changes", [{"kind": "music"}, {"kind": "embedding"}, {"kind": None, "model": None}, {"layers": "last"}]
)
def test_only_whisper_as_a_whole_hears_the_decoded_audio(changes):
    with pytest.raises(CodecError, match="attach: quantized"):
        TeacherSource(**{"kind": "speech", "model": "x", "attach": "output", **changes})


def test_the_quantizers_output_has_its_own_name():
    context = LossContext(16_000, 4, 2, {"a": 3})
    assert build_loss("distill_a", {"attach": "quantized"}, context).layers is None
    with pytest.raises(CodecError, match="type: output_features"):
        build_loss("distill_a", {"attach": "output"}, context)
