"""Merging saved codecs: what is merged, what stays the base's, what is recorded, and what is refused."""

import json

import pytest
import torch
from conftest import make_speech, make_tiny_model
from merge_models import change, nudge, save_branch, save_family
from seanet_models import CAUSAL, make_seanet
from training_runs import run_config, write_corpus

import codec
from codec.model.aliases import Aliases
from codec.model.lineage import base_of, read_base
from codec.train.trainer import Trainer


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Folders of a base and of two branches."""
    return save_family(tmp_path_factory.mktemp("family"))


def tensors(model):
    return model.state_dict()


def assert_equal(first, second, *prefixes):
    for name, tensor in tensors(first).items():
        if name.startswith(prefixes or ""):
            assert torch.equal(tensor, tensors(second)[name]), name


def test_only_the_encoder_is_merged(family):
    base, (speech, music) = family
    merged = codec.merge(base, {speech: 0.7, music: 0.6}).model
    assert_equal(merged, codec.load(base, "cpu"), "quantizer.", "decoder.")
    start, first, second = (tensors(codec.load(folder, "cpu")) for folder in (base, speech, music))
    for name, tensor in tensors(merged).items():
        if name.startswith("encoder."):
            expected = start[name] + 0.7 * (first[name] - start[name]) + 0.6 * (second[name] - start[name])
            torch.testing.assert_close(tensor, expected)
            assert not torch.equal(tensor, start[name])


@pytest.mark.parametrize("make", [make_tiny_model, lambda: make_seanet(CAUSAL)], ids=["spectral", "seanet"])
def test_the_ends_are_the_base_and_the_branch(tmp_path, make):
    base, (speech, music) = save_family(tmp_path, make)
    assert_equal(codec.merge(base, {speech: 0.0, music: 0.0}).model, codec.load(base, "cpu"))
    merged = codec.merge(base, {speech: 0.0, music: 1.0})
    assert_equal(merged.model, codec.load(music, "cpu"))
    wav = make_speech(0.5)
    assert torch.equal(merged.model.encode(wav).codes, codec.load(music, "cpu").encode(wav).codes)
    assert merged.report.merged["hashes"] == merged.report.models[1].hashes


def test_alpha_is_a_share_of_the_mean_vector(family):
    base, branches = family
    by_alpha = codec.merge(base, branches, alpha=0.5)
    assert_equal(by_alpha.model, codec.merge(base, dict.fromkeys(branches, 0.25)).model)
    assert_equal(codec.merge(base, branches[:1], alpha=0.3).model, codec.merge(base, {branches[0]: 0.3}).model)
    assert by_alpha.report.alpha == 0.5 and [model.weight for model in by_alpha.report.models] == [0.25, 0.25]


def test_the_order_of_models_does_not_matter(family):
    base, (speech, music) = family
    for method, density in (("linear", 1.0), ("ties", 0.3), ("dare", 0.3)):
        options = {"method": method, "density": density}
        one = codec.merge(base, {speech: 0.4, music: 0.9}, **options).model
        assert_equal(one, codec.merge(base, {music: 0.9, speech: 0.4}, **options).model)


def test_what_is_written_comes_back(family, tmp_path):
    base, (speech, music) = family
    merged = codec.merge(base, {speech: 0.5, music: -0.25}, tmp_path / "merged")
    loaded = codec.load(tmp_path / "merged", "cpu")
    assert_equal(loaded, merged.model)
    assert loaded.fingerprint == merged.model.fingerprint != codec.load(base, "cpu").fingerprint
    # It names its base, so that it may itself be merged.
    assert read_base(tmp_path / "merged") == base_of(codec.load(base, "cpu"))
    back = codec.merge(base, {tmp_path / "merged": 1.0})
    assert_equal(back.model, loaded)
    report = json.loads((tmp_path / "merged" / "merge.json").read_text())
    assert [model["name"] for model in report["models"]] == ["speech", "music"]
    assert [model["weight"] for model in report["models"]] == [0.5, -0.25]
    assert report["models"][0]["base"] == report["base"]["hashes"]
    assert report["tensors"]["merged"] + report["tensors"]["kept"] == len(tensors(loaded))
    # The vectors are random, so nearly at right angles, and add up like its sides.
    assert abs(report["cosines"]["speech ~ music"]) < 0.1
    lengths = [model["norm"] * model["weight"] for model in report["models"]]
    assert report["merged"]["norm"] == pytest.approx((lengths[0] ** 2 + lengths[1] ** 2) ** 0.5, rel=0.1)
    assert 0 < report["models"][0]["relative_norm"] < 1


def test_former_names_of_tokens_and_told_losses(family, tmp_path):
    base, (speech, music) = family
    (base / "training.json").write_text('{"losses": ["mel"]}')
    (speech / "training.json").write_text('{"losses": ["mel", "distill:whisper"]}')
    try:
        model = codec.load(base, "cpu")
        model.aliases = Aliases(model.fingerprint, ("0" * 16,))
        codec.save(model, base)
        codec.merge(base, {speech: 1.0}, tmp_path / "merged")
        assert json.loads((tmp_path / "merged" / "training.json").read_text()) == {
            "losses": ["mel", "distill:whisper"]
        }
        assert not codec.load(tmp_path / "merged", "cpu").understands("0" * 16)
        # The other branch does not tell, so nothing is told.
        codec.merge(base, {speech: 0.5, music: 0.5}, tmp_path / "merged")
        assert not (tmp_path / "merged" / "training.json").exists()
    finally:
        (base / "training.json").unlink()
        (speech / "training.json").unlink()


def test_patterns_choose_tensors_and_lambdas(family):
    base, (speech, _) = family
    start, branch = codec.load(base, "cpu"), codec.load(speech, "cpu")
    part = "encoder.backbone.blocks.0."
    merged = codec.merge(base, {speech: 1.0}, exclude=[f"{part}*"]).model
    assert_equal(merged, start, part)
    assert_equal(merged, branch, "encoder.backbone.out.")
    merged = codec.merge(base, {speech: {f"{part}*": 1.0}}).model
    assert_equal(merged, branch, part)
    assert_equal(merged, start, "encoder.backbone.out.")


def test_a_decoder_is_merged_where_it_is_asked_for(tmp_path):
    base = make_tiny_model()
    codec.save(base, tmp_path / "base")
    branch = nudge(nudge(base, 1), 2, prefix="decoder.")
    save_branch(branch, base, tmp_path / "branch")
    kept = codec.merge(tmp_path / "base", {tmp_path / "branch": 1.0}).model
    assert_equal(kept, base, "decoder.")
    moved = codec.merge(
        tmp_path / "base", {tmp_path / "branch": 1.0}, include=["encoder.*", "decoder.*"]
    ).model
    assert_equal(moved, branch)
    # A base with the same encoder and another decoder will do for the encoder alone.
    other = nudge(base, 3, prefix="decoder.")
    codec.save(other, tmp_path / "other")
    assert_equal(codec.merge(tmp_path / "other", {tmp_path / "branch": 1.0}).model, branch, "encoder.")
    with pytest.raises(codec.CodecError, match="was trained from .*, not from"):
        codec.merge(tmp_path / "other", {tmp_path / "branch": 1.0}, include=["encoder.*", "decoder.*"])


@pytest.mark.parametrize("make", [make_tiny_model, lambda: make_seanet(CAUSAL)], ids=["spectral", "seanet"])
def test_training_names_the_base(tmp_path, make):
    base = make()
    codec.save(base, tmp_path / "base")
    manifest = write_corpus(tmp_path / "data")
    changes = {
        "model": base.config,
        "init_from": str(tmp_path / "base"),
        "freeze": ["quantizer"],
        "losses": {"waveform": {"weight": 1.0}},
        "discriminators": {},
        "max_steps": 2,
    }
    Trainer(run_config(tmp_path, manifest, **changes)).run(until=1)
    export = tmp_path / "run" / "export"
    assert read_base(export) == base_of(base)
    # Resumed, the run has not seen its start.
    Trainer(
        run_config(
            tmp_path, manifest, **changes | {"resume": True, "init_from": None, "freeze": ["quantizer"]}
        )
    ).run()
    assert read_base(export) == base_of(base)
    merged = codec.merge(tmp_path / "base", {export: 1.0})
    assert_equal(merged.model, codec.load(export, "cpu"), "encoder.")
    assert merged.report.models[0].name == "run" and merged.report.models[0].norm > 0


def test_a_run_from_nothing_names_no_base(tmp_path):
    manifest = write_corpus(tmp_path / "data")
    (tmp_path / "run" / "export").mkdir(parents=True)
    (tmp_path / "run" / "export" / "base.json").write_text('{"fingerprint": "of an old run"}')
    changes = {"losses": {"waveform": {"weight": 1.0}}, "discriminators": {}, "max_steps": 1}
    Trainer(run_config(tmp_path, manifest, **changes)).run()
    assert read_base(tmp_path / "run" / "export") is None


def broken(tmp_path, edit):
    """A base, and one branch whose tensors ``edit`` changed."""
    base, (speech, _) = save_family(tmp_path)
    change(speech, edit)
    return base, speech


NAME = "encoder.backbone.out.weight"


def spoil(tensors):
    tensors[NAME][0, 0] = float("nan")


def shift_codebook(tensors):
    tensors["quantizer.codebooks"] = tensors["quantizer.codebooks"].roll(1, dims=1)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (spoil, f"speech: tensor {NAME} holds NaN or infinite"),
        (shift_codebook, "its codebooks are not those of"),
    ],
)
def test_bad_tensors_are_refused_and_forced(tmp_path, edit, message):
    base, speech = broken(tmp_path, edit)
    with pytest.raises(codec.CodecError, match=message) as error:
        codec.merge(base, {speech: 1.0})
    assert "\n" not in str(error.value) and "--force" in str(error.value)
    forced = codec.merge(base, {speech: 1.0}, force=True)
    start = codec.load(base, "cpu")
    assert len(forced.report.forced) == 1
    assert_equal(forced.model, start, "quantizer.")
    assert all(torch.isfinite(tensor).all() for tensor in tensors(forced.model).values())
    if edit is spoil:
        assert torch.equal(tensors(forced.model)[NAME], tensors(start)[NAME])
    assert_equal(forced.model, codec.load(speech, "cpu"), "encoder.backbone.blocks.")


def test_other_bases_are_refused(family, tmp_path):
    base, (speech, _) = family
    codec.save(make_tiny_model(seed=9), tmp_path / "stranger")
    with pytest.raises(
        codec.CodecError, match="speech: was trained from [0-9a-f]{16}, not from [0-9a-f]{16}"
    ):
        codec.merge(tmp_path / "stranger", {speech: 1.0})
    codec.save(codec.load(speech, "cpu"), tmp_path / "nameless")
    with pytest.raises(
        codec.CodecError, match=r"nameless: names no base \(base.json\), .* train it with init_from; --force merges"
    ):
        codec.merge(base, {tmp_path / "nameless": 1.0})
    assert_equal(codec.merge(base, {tmp_path / "nameless": 1.0}, force=True).model, codec.load(speech, "cpu"))


def test_other_shapes_and_settings_are_refused(family, tmp_path):
    base, (speech, _) = family
    start = codec.load(base, "cpu")
    save_branch(make_tiny_model(encoder_layers=3), start, tmp_path / "deeper")
    save_branch(make_tiny_model(encoder_dim=24), start, tmp_path / "wider")
    for name in ("deeper", "wider"):
        with pytest.raises(codec.CodecError, match=f"{name}: config.json has network"):
            codec.merge(base, {tmp_path / name: 1.0})
    forced = codec.merge(base, {tmp_path / "deeper": 1.0, speech: 0.0}, force=True).report.forced
    assert any(
        "has tensor encoder.backbone.blocks.2" in line and "which the base lacks" in line for line in forced
    )
    forced = codec.merge(base, {tmp_path / "wider": 1.0}, force=True)
    assert any("has another shape than the base's" in line for line in forced.report.forced)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"models": {}}, "models: none given"),
        ({"models": {"speech": None}}, "there is neither a weight nor an alpha; give one"),
        ({"models": {"speech": 1.0}, "alpha": 0.5}, "an alpha of 0.5 as well, which takes the place of all weights"),
        ({"models": {"speech": 1.0}, "density": 0.5}, "linear keeps all entries"),
        (
            {"models": {"speech": 1.0}, "method": "dare", "density": 0.0},
            r"density: expected a number in \(0, 1\]",
        ),
        ({"models": {"speech": 1.0}, "include": ["quantizer.*"]}, "quantizer.codebooks is never merged"),
        ({"models": {"speech": 1.0}, "include": ["encodre.*"]}, "no weight of .* fits encodre"),
        ({"models": {"speech": 1.0}, "output": "base"}, "holds one of the models"),
        ({"models": {"speech": 1.0}, "output": "speech/"}, "holds one of the models"),
        ({"models": {"nowhere": 1.0}}, "no model 'nowhere'"),
        ({"models": {"speech.pt": 1.0}}, "a pickled checkpoint, which is not read"),
        ({"models": {"speech": 1.0, "elsewhere/speech": 1.0}}, "two are called 'speech'"),
    ],
)
def test_bad_settings_are_refused(family, monkeypatch, options, message):
    monkeypatch.chdir(family[0].parent)
    with pytest.raises(codec.CodecError, match=message) as error:
        codec.merge("./base", **options)
    assert "\n" not in str(error.value)


def test_a_damaged_base_file_is_refused(tmp_path):
    base, (speech, _) = save_family(tmp_path)
    (speech / "base.json").write_text('{"fingerprints": 1}')
    with pytest.raises(codec.CodecError, match="base.json: damaged .*unknown key 'fingerprints'"):
        codec.merge(base, {speech: 1.0})
