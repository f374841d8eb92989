"""What another model's or run's weights become in a model that has more than it, or other codebooks."""

import dataclasses

import pytest
import torch
from conftest import make_tiny_model
from training_runs import RECONSTRUCTION, run_config, write_corpus

import codec
from codec.errors import CodecError
from codec.model.transfer import fitting_weights
from codec.quantizers.split import SplitConfig
from codec.train.trainer import Trainer


@pytest.fixture
def manifest(tmp_path):
    return write_corpus(tmp_path / "data")


@pytest.mark.parametrize(("before", "look_ahead"), [(0, 0), (0, 1), (0, 2), (1, 3)])
def test_a_deeper_network_starts_with_the_tokens_and_the_audio_of_its_source(tmp_path, manifest, before, look_ahead):
    source = make_tiny_model(look_ahead=before)
    codec.save(source, tmp_path / "model")
    network = source.config.network
    layers = {"encoder_layers": network.encoder_layers + 2, "decoder_layers": network.decoder_layers + 1}
    layers["look_ahead"] = look_ahead
    deeper = dataclasses.replace(source.config, network=dataclasses.replace(network, **layers))
    config = run_config(tmp_path, manifest, model=deeper, init_from=str(tmp_path / "model"), **RECONSTRUCTION)
    trainer = Trainer(config)
    grown, wav = trainer.task.parts.state.released(), 0.1 * torch.randn(1, 6400)
    assert torch.equal(grown.encode(wav).codes, source.encode(wav).codes)
    tokens = source.encode(wav)
    assert torch.allclose(grown.decode(tokens.codes), source.decode(tokens.codes), atol=1e-5)
    before = {name: value.clone() for name, value in trainer.task.parts.state.generator.codec.named_parameters()}
    trainer.run(until=2)
    after = dict(trainer.task.parts.state.generator.codec.named_parameters())
    new = [name for name in before if name not in source.state_dict()]
    assert {name.split(".")[0] for name in new} == {"encoder", "decoder"}
    assert all(not torch.equal(before[name], after[name]) for name in new if "project" in name)


@pytest.mark.parametrize(("before", "look_ahead", "layers"), [(0, 1, 2), (0, 2, 3), (1, 1, 3), (1, 0, 2), (2, 3, 3)])
def test_blocks_that_would_look_ahead_otherwise_than_in_the_source_are_refused(before, look_ahead, layers):
    source = make_tiny_model(look_ahead=before)
    target = make_tiny_model(look_ahead=look_ahead, encoder_layers=layers)
    fitting = fitting_weights(source, target)
    assert (fitting is not None) == ((before, look_ahead, layers) == (2, 3, 3))


def test_a_decoder_with_more_bands_starts_with_the_loudness_of_its_source(tmp_path, manifest):
    source = make_tiny_model(gain_bands=5, noise_bands=4)
    codec.save(source, tmp_path / "model")
    bands = {"gain_bands": 9, "noise_bands": 7}
    finer = dataclasses.replace(source.config, network=dataclasses.replace(source.config.network, **bands))
    config = run_config(tmp_path, manifest, model=finer, init_from=str(tmp_path / "model"), **RECONSTRUCTION)
    grown, wav = Trainer(config).task.parts.state.released(), 0.1 * torch.randn(1, 6400)
    tokens = source.encode(wav)
    assert torch.equal(grown.encode(wav).codes, tokens.codes)
    # Every band of the source is one of the finer bands, so that what lies between them is the same, too.
    assert torch.allclose(grown.decode(tokens.codes), source.decode(tokens.codes), atol=1e-5)


@pytest.mark.parametrize("from_run", [True, False])
def test_an_encoder_that_is_given_levels_starts_with_the_tokens_of_its_source(tmp_path, manifest, from_run):
    run = run_config(tmp_path, manifest, max_steps=2, **RECONSTRUCTION)
    Trainer(run).run()
    source, wav = codec.load(f"{run.output}/export"), 0.1 * torch.randn(1, 6400)
    network = dataclasses.replace(run.model.network, level_bands=8)
    start = str(run.output) if from_run else f"{run.output}/export"
    options = {"model": dataclasses.replace(run.model, network=network), "output": str(tmp_path / "levels")}
    trainer = Trainer(run_config(tmp_path, manifest, init_from=start, **options, **RECONSTRUCTION))
    grown = trainer.task.parts.state.released()
    assert torch.equal(grown.encode(wav).codes, source.encode(wav).codes)
    assert not grown.encoder.backbone.embed.weight[:, -8:].any()
    trainer.run(until=1)
    assert trainer.task.parts.state.generator.codec.encoder.backbone.embed.weight[:, -8:].all()
    # Bands of another number would be read by weights of others.
    fewer = dataclasses.replace(run.model, network=dataclasses.replace(network, level_bands=9))
    for begun in (str(tmp_path / "levels"), str(tmp_path / "levels" / "export")):
        config = run_config(tmp_path, manifest, model=fewer, init_from=begun, output=str(tmp_path / "x"), **RECONSTRUCTION)
        with pytest.raises(CodecError, match=r"init_from .*level_bands is 8 there and 9 here"):
            Trainer(config)


@pytest.mark.parametrize(("setting", "value"), [("look_ahead", 1), ("compression", 0.5)])
def test_a_setting_that_no_tensor_shows_is_refused_of_a_run_as_of_a_model(tmp_path, manifest, setting, value):
    run = run_config(tmp_path, manifest, max_steps=1, **RECONSTRUCTION)
    Trainer(run).run()
    network = dataclasses.replace(run.model.network, **{setting: value})
    options = {"model": dataclasses.replace(run.model, network=network), "output": str(tmp_path / "other")}
    for start in (str(run.output), f"{run.output}/export"):
        with pytest.raises(CodecError, match=rf"init_from .*network\.{setting} is "):
            Trainer(run_config(tmp_path, manifest, init_from=start, **options, **RECONSTRUCTION))


@pytest.mark.parametrize("residual", [True, False])
def test_a_first_codebook_of_its_own_starts_with_the_tokens_and_the_audio_of_the_row(tmp_path, manifest, residual):
    source = make_tiny_model()
    codec.save(source, tmp_path / "model")
    row = source.config.quantizer
    split = SplitConfig(num_codebooks=row.num_codebooks, codebook_size=row.codebook_size, residual=residual)
    model = dataclasses.replace(source.config, quantizer=split)
    config = run_config(tmp_path, manifest, model=model, init_from=str(tmp_path / "model"), **RECONSTRUCTION)
    if not residual:
        # In parallel, the others would have to quantize what they have not seen.
        with pytest.raises(CodecError, match=r"init_from .*: its config\.json differs from this run's model"):
            Trainer(config)
        return
    trainer = Trainer(config)
    started, wav = trainer.task.parts.state.released(), 0.1 * torch.randn(1, 6400)
    tokens = source.encode(wav)
    assert torch.equal(started.encode(wav).codes, tokens.codes)
    assert torch.allclose(started.decode(tokens.codes), source.decode(tokens.codes), atol=1e-5)
    trainer.run(until=2)
    sides = trainer.task.parts.state.generator.codec.quantizer
    for side in (sides.first, sides.rest):
        for projection in (side.input, side.output):
            assert not torch.equal(projection.weight, torch.eye(source.quantizer.codebooks.shape[2]))


@pytest.mark.parametrize("blocks", [0, 2])
def test_a_wider_latent_starts_with_the_tokens_and_the_audio_of_its_source(tmp_path, manifest, blocks):
    row = make_tiny_model()
    width, network = row.quantizer.codebooks.shape[2], row.config.network
    sizes = {"num_codebooks": row.config.quantizer.num_codebooks, "codebook_size": row.config.quantizer.codebook_size}
    config = dataclasses.replace(row.config, quantizer=SplitConfig(**sizes, residual=True))
    source = codec.Codec(config)
    source.load_state_dict(fitting_weights(row, source))
    codec.save(source.eval(), tmp_path / "model")

    def start(latent_dim: int, dim: int) -> Trainer:
        model = dataclasses.replace(
            config,
            network=dataclasses.replace(
                network, latent_dim=latent_dim, semantic_layers=blocks, semantic_dim=5, semantic_from=1
            ),
            quantizer=SplitConfig(**sizes, residual=True, dim=dim),
        )
        where = {"output": str(tmp_path / f"{latent_dim}-{dim}"), "init_from": str(tmp_path / "model")}
        return Trainer(run_config(tmp_path, manifest, model=model, **where, **RECONSTRUCTION))

    trainer = start(width + 5, width)
    wider, wav = trainer.task.parts.state.released(), 0.1 * torch.randn(1, 6400)
    tokens = source.encode(wav)
    assert torch.equal(wider.encode(wav).codes, tokens.codes)
    assert torch.allclose(wider.decode(tokens.codes), source.decode(tokens.codes), atol=1e-5)
    trainer.run(until=3)
    trained = trainer.task.parts.state.generator.codec
    # The decoder learns to read the new part first, from where the codebooks learn that it counts.
    assert trained.decoder.backbone.embed.weight[:, width:].any()
    assert trained.quantizer.first.input.weight[:, width:].any()
    # Codebooks of another width, or a latent that lost a part, are another model.
    for latent_dim, dim in ((width + 5, 0), (width + 5, width + 1), (width - 1, width)):
        with pytest.raises(CodecError, match=r"init_from .*: its config\.json differs from this run's model"):
            start(latent_dim, dim)


@pytest.mark.parametrize("part, setting", [("network", "decoder_layers"), ("quantizer", "num_codebooks")])
def test_a_model_with_less_of_something_is_no_start(tmp_path, manifest, part, setting):
    source = make_tiny_model()
    codec.save(source, tmp_path / "model")
    settings = getattr(source.config, part)
    fewer = dataclasses.replace(settings, **{setting: getattr(settings, setting) - 1})
    model = dataclasses.replace(source.config, **{part: fewer})
    config = run_config(tmp_path, manifest, model=model, init_from=str(tmp_path / "model"), **RECONSTRUCTION)
    with pytest.raises(CodecError, match=r"init_from .*: its config\.json differs from this run's model"):
        Trainer(config)


def test_a_model_of_other_sizes_is_no_start(tmp_path, manifest, tiny_model_dir):
    config = run_config(tmp_path, manifest, init_from=str(tiny_model_dir), **RECONSTRUCTION)
    with pytest.raises(CodecError, match=r"init_from .*: its config\.json differs from this run's model"):
        Trainer(config)


@pytest.mark.parametrize("kind", ["rvq", "split_rvq"])
def test_codebooks_of_other_sizes_keep_their_entries_or_means_of_them(tmp_path, manifest, kind):
    row = make_tiny_model().config
    old, new = ({"type": kind, "sizes": sizes} for sizes in ([8, 16, 16], [20, 16, 5]))
    source = codec.Codec(dataclasses.replace(row, quantizer=old))
    source.load_state_dict({name: torch.randn(value.shape) for name, value in source.state_dict().items()})
    codec.save(source, tmp_path / "model")
    first = run_config(tmp_path, manifest, model=source.config, init_from=str(tmp_path / "model"), **RECONSTRUCTION)
    Trainer(first).run()
    model = dataclasses.replace(row, quantizer=new)
    for start, its_model in ((tmp_path / "model", tmp_path / "model"), (first.output, f"{first.output}/export")):
        before = codec.load(its_model).quantizer
        where = {"init_from": str(start), "output": f"{start}-resized"}
        trainer = Trainer(run_config(tmp_path, manifest, model=model, **where, **RECONSTRUCTION))
        state = trainer.task.parts.state
        after = state.released().quantizer
        (larger, same, smaller), (grown, kept, shrunk) = entries(before), entries(after)
        assert torch.equal(grown[:8], larger) and torch.equal(kept, same)
        assert len(grown) == 20 and len(grown.unique(dim=0)) == 20
        # A copy lies nearer to its own entry than half of the way to the next.
        distances = torch.cdist(grown[8:], larger)
        assert torch.equal(distances.argmin(dim=1), torch.arange(12) % 8)
        # The smaller codebook's entries are the means of what lies nearest to them in the larger one.
        nearest = torch.cdist(smaller, shrunk).argmin(dim=1)
        means = torch.stack([smaller[nearest == number].mean(dim=0) for number in range(5)])
        assert len(shrunk) == 5 and torch.allclose(shrunk, means, atol=1e-5)
        trainer.run(until=3)
        assert entries(state.released().quantizer)[0].isfinite().all()


@pytest.mark.parametrize("from_run", [True, False])
def test_frozen_codebooks_keep_their_sizes(tmp_path, manifest, from_run):
    row = make_tiny_model().config
    # The second model's tensors have the same shapes.
    old, new = ({"type": "rvq", "sizes": sizes} for sizes in ([16, 16], [16, 8]))
    first = dataclasses.replace(row, quantizer=old)
    run = run_config(tmp_path, manifest, model=first, max_steps=2, **RECONSTRUCTION)
    Trainer(run).run()
    start = str(run.output) if from_run else f"{run.output}/export"
    config = run_config(
        tmp_path,
        manifest,
        model=dataclasses.replace(row, quantizer=new),
        output=str(tmp_path / "frozen"),
        init_from=start,
        freeze=["quantizer"],
        **RECONSTRUCTION,
    )
    with pytest.raises(CodecError, match=r"init_from .*: its codebooks have \[16, 16\] entries, this run's \[16, 8\]"):
        Trainer(config)


@pytest.mark.parametrize("from_run", [True, False])
def test_a_start_that_does_not_fit_is_told_before_audio_is_decoded(tmp_path, manifest, from_run, monkeypatch):
    run = run_config(tmp_path, manifest, max_steps=2, **RECONSTRUCTION)
    Trainer(run).run()
    start = str(run.output) if from_run else f"{run.output}/export"
    other = dataclasses.replace(run.model, quantizer={"num_codebooks": 3, "codebook_size": 16, "beams": 2})
    config = run_config(tmp_path, manifest, model=other, output=str(tmp_path / "other"), init_from=start, **RECONSTRUCTION)
    monkeypatch.setattr("codec.train.tasks.codec.build_run", lambda *_: pytest.fail("data were opened first"))
    count = run.model.quantizer.num_codebooks
    with pytest.raises(CodecError, match=rf"init_from .*num_codebooks is {count} there and 3 here") as told:
        Trainer(config)
    # A search may have other beams.
    assert "beams" not in str(told.value)


@pytest.mark.parametrize("from_run", [True, False])
def test_a_run_may_search_with_more_beams_than_its_start(tmp_path, manifest, from_run):
    run = run_config(tmp_path, manifest, max_steps=2, **RECONSTRUCTION)
    Trainer(run).run()
    start = str(run.output) if from_run else f"{run.output}/export"
    searched = dataclasses.replace(run.model, quantizer=dataclasses.replace(run.model.quantizer, beams=3))
    output = str(tmp_path / "searched")
    config = run_config(tmp_path, manifest, model=searched, output=output, init_from=start, **RECONSTRUCTION)
    trainer = Trainer(config)
    before, after = codec.load(f"{run.output}/export"), trainer.task.parts.state.released()
    assert after.fingerprint != before.fingerprint
    assert torch.equal(after.quantizer.codebooks, before.quantizer.codebooks)


def entries(quantizer) -> list[torch.Tensor]:
    """The codebooks without what fills up a smaller one."""
    sides = [quantizer.first.rvq, quantizer.rest.rvq] if hasattr(quantizer, "first") else [quantizer]
    return [codebook[:size] for side in sides for codebook, size in zip(side.codebooks, side.sizes, strict=True)]
