"""Fine-tuning as Speech-FT does: heads first, a frozen front, a learning rate in three stages."""

import pytest
import torch
from conftest import make_tiny_model
from training_runs import RECONSTRUCTION, run_config, write_corpus, write_features

import codec
from codec.errors import CodecError
from codec.settings import read_config
from codec.train.config import TrainConfig
from codec.train.optimizer import ScheduleConfig, learning_rate_scale
from codec.train.trainer import Trainer

FRONT = "encoder.backbone.embed.*"
STEPS = 20
HELD = 4
"""Steps of heads alone: a share of 0.2."""


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    manifest = write_corpus(folder)
    write_features(folder / "features", manifest, "toy")
    codec.save(make_tiny_model(), folder / "base")
    return manifest


def trainer(folder, manifest, **changes):
    changes = {
        "model": codec.load(manifest.parent / "base", "cpu").config,
        "init_from": str(manifest.parent / "base"),
        "freeze": ["quantizer"],
        "freeze_weights": [FRONT],
        "heads_first": HELD / STEPS,
        "teachers": {"toy": {"features": str(manifest.parent / "features")}},
        "discriminators": {},
        "losses": {**RECONSTRUCTION["losses"], "distill_toy": {"weight": 1.0, "attach": "rvq1"}},
        "schedule": {"kind": "tri_stage", "floor": 0.0},
        "max_steps": STEPS,
        **changes,
    }
    return Trainer(run_config(folder, manifest, **changes))


def weights(trainer):
    return {name: t.clone() for name, t in trainer.task.parts.state.generator.codec.state_dict().items()}


def heads(trainer):
    return [p.detach().clone() for p in trainer.task.parts.state.objective.parameters()]


def moments(trainer):
    """Entries of the optimizer's averages."""
    state = trainer.task.parts.state.optimizer.state_dict()
    return sum(tensor.numel() for name, tensor in state.items() if name.endswith(".exp_avg"))


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.05, 0.5), (0.1, 1.0), (0.3, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.0), (1.2, 0.0)],
)
def test_the_rate_in_three_stages(share, expected):
    config = ScheduleConfig(kind="tri_stage", floor=0.0)
    assert learning_rate_scale(config, round(share * 1000), 1000) == pytest.approx(expected)


def test_stages_of_other_lengths_and_a_floor():
    config = ScheduleConfig(kind="tri_stage", warmup_share=0.0, hold_share=0.5, floor=0.2)
    assert [learning_rate_scale(config, step, 4) for step in range(5)] == pytest.approx(
        [1.0, 1.0, 1.0, 0.6, 0.2]
    )
    config = ScheduleConfig(kind="tri_stage", warmup_share=0.5, hold_share=0.5)
    assert [learning_rate_scale(config, step, 4) for step in range(5)] == pytest.approx(
        [0.0, 0.5, 1.0, 1.0, 1.0]
    )
    with pytest.raises(CodecError, match="warmup_share and hold_share must be >= 0 and sum to at most 1"):
        ScheduleConfig(kind="tri_stage", warmup_share=0.7, hold_share=0.5)


def test_heads_learn_first_then_all_but_the_front(tmp_path, manifest):
    run = trainer(tmp_path, manifest)
    start, untrained = weights(run), heads(run)
    run.run(until=HELD)
    held = weights(run)
    assert all(torch.equal(held[name], tensor) for name, tensor in start.items())
    assert not any(torch.equal(now, before) for now, before in zip(heads(run), untrained, strict=True))
    # No moments are made of what does not learn.
    assert moments(run) == sum(tensor.numel() for tensor in untrained)
    exported = codec.load(tmp_path / "run" / "export", "cpu").state_dict()
    assert all(torch.equal(exported[name], tensor) for name, tensor in start.items())
    later = trainer(tmp_path, manifest, resume=True)
    later.run(until=HELD + 1)
    moved = {name for name, tensor in weights(later).items() if not torch.equal(tensor, start[name])}
    names = {name for name in start if not name.startswith(("encoder.backbone.embed.", "quantizer."))}
    assert moved and moved <= names
    assert {
        name for name in names if name.startswith("encoder.") and name.endswith("project.weight")
    } <= moved


def test_a_run_resumed_at_the_boundary_is_one_that_was_not_stopped(tmp_path, manifest):
    whole = trainer(tmp_path / "a", manifest)
    whole.run(until=HELD + 2)
    trainer(tmp_path / "b", manifest).run(until=HELD)
    resumed = trainer(tmp_path / "b", manifest, resume=True)
    resumed.run(until=HELD + 2)
    mine = weights(resumed)
    assert all(torch.equal(mine[name], tensor) for name, tensor in weights(whole).items())


def test_a_frozen_decoder_stays_and_passes_gradients_on(tmp_path, manifest):
    run = trainer(
        tmp_path, manifest, freeze=["quantizer", "decoder"], heads_first=0.0, losses=RECONSTRUCTION["losses"]
    )
    start = weights(run)
    run.run(until=2)
    moved = {name.partition(".")[0] for name, t in weights(run).items() if not torch.equal(t, start[name])}
    assert moved == {"encoder"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"heads_first": 1.0}, r"heads_first: expected a share in \[0, 1\)"),
        ({"freeze": ["encoder"]}, "heads_first: codebooks move with every batch; add quantizer to freeze"),
        ({"init_from": None}, "frozen parts come from a model; set init_from"),
        (
            {"freeze": [], "heads_first": 0, "init_from": None},
            "config freeze_weights: frozen parts come from a model",
        ),
        (
            {"freeze_weights": ["encoder.conv.*"]},
            r"freeze_weights: no weight fits 'encoder.conv.\*'; a name is encoder.",
        ),
        ({"losses": RECONSTRUCTION["losses"]}, "nothing to train, since no loss has a head"),
        (
            {
                "freeze": ["encoder", "quantizer", "decoder"],
                "heads_first": 0,
                "losses": RECONSTRUCTION["losses"],
            },
            "nothing to train",
        ),
        ({"cuda_graphs": True}, "heads_first: a recorded step cannot change"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path, manifest, changes, message):
    with pytest.raises(CodecError, match=message):
        trainer(tmp_path, manifest, **changes)


def test_the_shipped_branch_trains_what_can_be_merged():
    config = read_config(TrainConfig, "task_vector_speech")
    assert {"quantizer", "decoder"} <= set(config.freeze) and config.heads_first == 0.1
    assert config.schedule.kind == "tri_stage" and config.schedule.floor == 0
    assert codec.load("default", "cpu").config == config.model


def test_the_music_branch_is_trained_as_the_speech_branch_is():
    speech, music = (read_config(TrainConfig, f"task_vector_{name}") for name in ("speech", "music"))
    same = ("init_from", "freeze", "freeze_weights", "heads_first", "model", "optimizer", "schedule", "max_steps")
    assert all(getattr(speech, name) == getattr(music, name) for name in same)
    assert speech.output != music.output and speech.data.batch_size == music.data.batch_size
    assert set(music.teachers) == {"music"} and music.teachers["music"].seen == ("music",)
    assert set(speech.losses) - set(music.losses) == {"distill_sm"}
    assert set(music.losses) - set(speech.losses) == {"distill_music"}
