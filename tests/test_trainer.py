"""The training run as a user meets it: it learns, logs, exports, starts from others' weights, stops."""

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from conftest import TINY_CONFIG, make_speech, make_tiny_model
from torch import nn
from training_runs import RECONSTRUCTION, run_config, write_corpus, write_features

import codec
from codec.errors import CodecError
from codec.train.checkpoint import list_checkpoints, read_checkpoint, write_checkpoint
from codec.train.generator import Generator
from codec.train.losses.registry import loss
from codec.train.quantizers import QuantizerTrainingConfig
from codec.train.trainer import Trainer


@loss("goes_bad")
class GoesBad(nn.Module):
    """Mean |fake|, and NaN from the n-th call on."""

    @dataclass(frozen=True)
    class Config:
        after: int = 2

    def __init__(self, config, context):
        super().__init__()
        self.left = config.after

    def forward(self, inputs):
        self.left -= 1
        return inputs.fake.abs().mean() * (1.0 if self.left >= 0 else float("nan"))


@pytest.fixture
def manifest(tmp_path):
    return write_corpus(tmp_path / "data")


def records(config):
    lines = Path(config.output, "log.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_a_run_learns_logs_and_exports_a_model_that_encodes(tmp_path, manifest):
    config = run_config(tmp_path, manifest, max_steps=40, optimizer={"lr": 3e-3}, **RECONSTRUCTION)
    result = Trainer(config).run()
    log = records(config)
    assert result.step == 40 and result.signal is None
    assert [record["step"] for record in log] == list(range(2, 41, 2))
    assert log[-1]["mel"] < 0.8 * log[1]["mel"]
    model = codec.load(result.export, device="cpu")
    wav = torch.from_numpy(make_speech(0.5))
    tokens = model.encode(wav)
    assert tokens.codes.shape == (1, 2, 25)
    assert model.decode(tokens).shape == (1, 8000)


def test_seanet_trains_with_weight_norm_and_exports_plain_weights(tmp_path, manifest):
    network = {"n_filters": 2, "latent_dim": 8, "lstm_layers": 0, "causal": True}
    model = {**TINY_CONFIG, "architecture": "seanet", "network": network}
    trainer = Trainer(run_config(tmp_path, manifest, max_steps=2, model=model, **RECONSTRUCTION))
    before = {name: value.clone() for name, value in trainer.task.parts.state.generator.named_parameters()}
    result = trainer.run()
    moved = {n for n, v in trainer.task.parts.state.generator.named_parameters() if not torch.equal(v, before[n])}
    assert moved == set(before) and any("original0" in name for name in moved)
    exported = codec.load(result.export, device="cpu")
    assert not any("parametrizations" in name for name in exported.state_dict())
    wav = torch.from_numpy(make_speech(0.5))[None, :8000]
    average = trainer.task.parts.state.released()
    torch.testing.assert_close(exported.encoder(wav)[0], average.encoder(wav)[0])


def test_tags_are_the_losses_names(tmp_path, manifest):
    config = run_config(tmp_path, manifest, max_steps=4, adversary={"start_step": 0}, balancer={})
    Trainer(config).run()
    tags = set(records(config)[-1])
    assert set(config.losses) <= tags
    assert {"total", "grad_norm", "discriminator", "hours_per_hour"} <= tags
    assert {"usage/1", "usage/2", "perplexity/1", "perplexity/2"} <= tags
    shares = {tag: value for tag, value in records(config)[-1].items() if tag.startswith("share/")}
    assert set(shares) == {f"share/{name}" for name in config.losses if name != "commitment"}
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-4)


def test_discriminators_start_at_their_step_and_move_every_nth(tmp_path, manifest):
    config = run_config(tmp_path, manifest, adversary={"start_step": 3, "every": 2}, max_steps=6)
    trainer = Trainer(config)
    weight = next(trainer.task.parts.state.discriminators.parameters())
    moved = []
    take_step = trainer.task.parts.train_step

    class Watched:
        check = take_step.check

        def __call__(self, batch, step):
            before = weight.detach().clone()
            values = take_step(batch, step)
            moved.append(not torch.equal(before, weight))
            assert ("discriminator" in values) == moved[-1]
            assert (float(values["adversarial"]) != 0) == (step >= 3)
            return values

    trainer.task.parts.train_step = Watched()
    trainer.run()
    assert moved == [False, False, False, False, True, False]


def test_one_decoded_fake_serves_both_updates(tmp_path, manifest):
    trainer = Trainer(run_config(tmp_path, manifest, adversary={"start_step": 0}, max_steps=3))
    passes = {"encoder": 0, "decoder": 0}

    def count(name):
        def hook(*_):
            passes[name] += 1

        return hook

    model = trainer.task.parts.state.generator.codec
    model.encoder.register_forward_hook(count("encoder"))
    model.decoder.register_forward_hook(count("decoder"))
    for step in range(3):
        values = trainer.task.parts.train_step(trainer.task.parts.batches.batch(step), step)
        assert "discriminator" in values and "adversarial" in values
    assert passes == {"encoder": 3, "decoder": 3}


@pytest.mark.parametrize("look_ahead", [0, 2])
def test_the_generator_decodes_exactly_what_the_finished_model_does(look_ahead):
    model = make_tiny_model(look_ahead=look_ahead)
    generator = Generator(model, QuantizerTrainingConfig()).eval()
    generator.quantizer.adopt_codebooks()
    lengths = [16 * 320, 9 * 320]
    wav = torch.zeros(2, lengths[0])
    for row, length in zip(wav, lengths, strict=True):
        row[:length] = torch.from_numpy(make_speech(length / 16_000))
    mask = torch.arange(16) < torch.tensor([[16], [9]])
    with torch.no_grad():
        generated = generator(wav, mask, step=0)
    tokens = model.encode(wav, lengths=torch.tensor(lengths))
    decoded = model.decode(tokens)
    assert torch.equal(generated.quantizer.codes * mask.unsqueeze(1), tokens.codes)
    for fake, expected, length in zip(generated.fake, decoded, lengths, strict=True):
        # decode() limits its output to [-1, 1]; a random model exceeds that.
        torch.testing.assert_close(fake[:length].clamp(-1, 1), expected[:length], atol=1e-5, rtol=0)


def test_a_loss_that_becomes_nan_is_named_with_its_step_and_spares_the_weights(tmp_path, manifest):
    losses = {**RECONSTRUCTION["losses"], "goes_bad": {"weight": 1.0, "after": 5}}
    config = run_config(
        tmp_path, manifest, losses=losses, discriminators={}, checkpoint_every=4, max_steps=20
    )
    trainer = Trainer(config)
    with pytest.raises(CodecError, match=r"step 5: goes_bad.* became NaN or infinite"):
        trainer.run()
    checkpoints = list_checkpoints(trainer.checkpoints)
    assert [path.name for path in checkpoints] == ["step-00000004"]
    for value in trainer.task.parts.state.generator.parameters():
        assert value.isfinite().all()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_leaves(tmp_path, manifest, number):
    config = run_config(tmp_path, manifest, **RECONSTRUCTION)
    trainer = Trainer(config)
    average = trainer.task.parts.state.average
    update = average.update

    def interrupt(step):
        update(step)
        if step == 2:
            os.kill(os.getpid(), number)

    average.update = interrupt
    result = trainer.run()
    assert (result.step, result.signal) == (3, number)
    assert [path.name for path in list_checkpoints(trainer.checkpoints)] == ["step-00000003"]
    assert (result.export / "model.safetensors").is_file()


def test_a_signal_while_other_processes_are_waited_for_is_not_lost(tmp_path, manifest, monkeypatch):
    asked = []

    def waits(number, device):
        """The largest of all processes' numbers, after a wait in which this one is told to stop."""
        asked.append(number)
        if len(asked) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return number

    monkeypatch.setattr("codec.train.trainer.largest", waits)
    result = Trainer(run_config(tmp_path, manifest, **RECONSTRUCTION)).run()
    assert (result.step, result.signal) == (3, signal.SIGTERM)


def test_a_save_that_fails_in_one_process_is_known_in_all(tmp_path, manifest, monkeypatch):
    """Or the others would wait for ever for the one that failed."""
    told = []

    def full(folder, checkpoint, keep):
        if checkpoint.step == 2:
            raise CodecError("the disk is full")
        return write_checkpoint(folder, checkpoint, keep)

    monkeypatch.setattr("codec.train.trainer.write_checkpoint", full)
    monkeypatch.setattr("codec.train.trainer.largest", lambda number, device: told.append(number) or number)
    trainer = Trainer(run_config(tmp_path, manifest, **RECONSTRUCTION, max_steps=3, checkpoint_every=2))
    assert trainer.run().step == 3
    # Once after each step whether to stop, and in each save whether it failed: before the second step's, and at last.
    assert told == [0, 1, 0, 0, 0]
    monkeypatch.setattr("codec.train.trainer.largest", lambda number, device: 1)
    with pytest.raises(CodecError, match="the checkpoint of step 3 was not written"):
        trainer._save()


def test_a_new_run_never_overwrites_another(tmp_path, manifest):
    config = run_config(tmp_path, manifest, max_steps=1, **RECONSTRUCTION)
    Trainer(config).run()
    with pytest.raises(CodecError, match=r"holds a run \(step-00000001\); set resume=true"):
        Trainer(config)


@pytest.mark.parametrize("resume", [False, True])
def test_fine_tuning_starts_from_a_released_model(tmp_path, manifest, resume):
    source = make_tiny_model()
    codec.save(source, tmp_path / "model")
    # With nothing to resume, a run that asks for it starts where another one would.
    config = run_config(
        tmp_path,
        manifest,
        model=TINY_CONFIG,
        init_from=str(tmp_path / "model"),
        resume=resume,
        **RECONSTRUCTION,
    )
    trainer = Trainer(config)
    for name, value in trainer.task.parts.state.released().state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name
    trainer.run(until=1)
    # Its codebooks go on learning; they are not thrown away for k-means.
    codebooks = trainer.task.parts.state.generator.codec.quantizer.codebooks
    assert 0 < (codebooks - source.quantizer.codebooks).abs().mean() < 0.05


def test_fine_tuning_starts_from_a_shipped_model_by_its_name(tmp_path, manifest, monkeypatch):
    source = make_tiny_model()
    codec.save(source, tmp_path / "shipped" / "small")
    (tmp_path / "shipped" / "small" / "training.json").write_text('{"losses": ["loudness"]}')
    monkeypatch.setattr("codec.model.files._CHECKPOINT_ROOTS", (tmp_path / "shipped",))
    trainer = Trainer(run_config(tmp_path, manifest, model=TINY_CONFIG, init_from="small", **RECONSTRUCTION))
    for name, value in trainer.task.parts.state.released().state_dict().items():
        assert torch.equal(value, source.state_dict()[name]), name
    trainer.run(until=1)
    losses = json.loads((tmp_path / "run" / "export" / "training.json").read_text())["losses"]
    assert losses == ["loudness", *RECONSTRUCTION["losses"]]


def test_fine_tuning_starts_from_a_checkpoint_with_its_discriminators(tmp_path, manifest):
    first = Trainer(run_config(tmp_path, manifest, adversary={"start_step": 1}, max_steps=4))
    first.run()
    config = run_config(
        tmp_path, manifest, output=str(tmp_path / "tuned"), init_from=str(first.output), seed=9
    )
    second = Trainer(config)
    old, new = first.task.parts.state, second.task.parts.state
    for name, value in new.discriminators.state_dict().items():
        assert torch.equal(value, old.discriminators.state_dict()[name]), name
    for name, value in new.released().state_dict().items():
        assert torch.equal(value, old.released().state_dict()[name]), name
    assert second.step == 0
    assert not new.optimizer.state_dict()



def test_tensorboard_gets_curves_sound_and_spectrograms(tmp_path, manifest):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    config = run_config(
        tmp_path, manifest, max_steps=4, sample_every=4, tracker="tensorboard", **RECONSTRUCTION
    )
    Trainer(config).run()
    events = accumulator.EventAccumulator(f"{config.output}/logs")
    events.Reload()
    tags = events.Tags()
    assert {"mel", "waveform", "commitment", "total", "usage/1"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("mel")] == [2, 4]
    assert {"sample/0/original", "sample/0/decoded"} <= set(tags["audio"])
    image = events.Images("spectrogram/0")[0]
    # Original above copy, 80 mel bands each.
    assert image.height == 160


def test_masked_frames_do_not_teach_the_codebooks(tmp_path):
    manifest = write_corpus(tmp_path / "data", (0.1,))
    trainer = Trainer(run_config(tmp_path, manifest, max_steps=4, **RECONSTRUCTION))
    trainer.run()
    quantizer = trainer.task.parts.state.generator.quantizer
    # Four crops of five frames each, out of twenty: EMA counts approach 20, never 80.
    assert float(quantizer.cluster_size[0].sum()) <= 20 + 1e-3


@pytest.mark.parametrize(("steps", "expected"), [(4, [2, 4]), (5, [2, 4, 5])])
def test_no_checkpoint_is_replaced_by_another_of_its_step(tmp_path, manifest, monkeypatch, steps, expected):
    """While a folder is replaced it is not whole, and the run may be killed."""
    written = []

    def record(folder, checkpoint, keep):
        written.append(checkpoint.step)
        return write_checkpoint(folder, checkpoint, keep)

    monkeypatch.setattr("codec.train.trainer.write_checkpoint", record)
    result = Trainer(run_config(tmp_path, manifest, **RECONSTRUCTION, max_steps=steps, checkpoint_every=2)).run()
    assert written == expected and result.step == steps
    assert (result.export / "model.safetensors").is_file()


def test_an_unfinished_run_leaves_a_checkpoint_that_holds_all_parts(tmp_path, manifest):
    trainer = Trainer(run_config(tmp_path, manifest))
    trainer.run(until=4)
    parts = read_checkpoint(list_checkpoints(trainer.checkpoints)[-1]).parts
    assert {"generator", "average", "optimizer", "discriminators", "discriminator_optimizer", "rng"} <= set(
        parts
    )


def test_heads_of_another_loss_are_not_taken(tmp_path, manifest):
    write_features(tmp_path / "features", manifest, "sm")
    teachers = {name: {"features": str(tmp_path / "features"), "name": "sm"} for name in ("sm", "lm")}
    losses = {name: {"type": "distill", "weight": 1.0, "teacher": "sm"} for name in ("same", "other", "gone")}
    common = {"teachers": teachers, "discriminators": {}, "max_steps": 1}
    first = Trainer(run_config(tmp_path, manifest, losses=losses, **common))
    first.run()
    losses = {"same": losses["same"], "other": {**losses["other"], "teacher": "lm"}, "new": losses["gone"]}
    changes = {"losses": losses, "output": str(tmp_path / "next"), "seed": 9, **common}
    fresh = Trainer(run_config(tmp_path, manifest, **changes)).task.parts.state.objective.state_dict()
    tuned = Trainer(run_config(tmp_path, manifest, init_from=str(first.output), **changes))
    old = first.task.parts.state.objective.state_dict()
    for name, value in tuned.task.parts.state.objective.state_dict().items():
        source = old if name.startswith("losses.same") else fresh
        assert torch.equal(value, source[name]), name
