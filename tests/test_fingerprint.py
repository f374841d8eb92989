"""What tokens are called: the same name exactly while the codes mean the same."""

import copy
import dataclasses
import json
from dataclasses import replace

import pytest
import torch
from conftest import TINY_CONFIG, make_speech, make_tiny_model

import codec
from codec.config import from_dict
from codec.engines import layout
from codec.errors import CodecError
from codec.model import fingerprint as module
from codec.model.config import config_to_json

SHIPPED = "df958262daeaccfc"
SHIPPED_BEFORE = "72c22cd5c588c3e8"


@pytest.fixture
def model() -> codec.Codec:
    """Of its own for each test, which may change it."""
    return make_tiny_model()


@pytest.fixture
def wav() -> torch.Tensor:
    return torch.from_numpy(make_speech(0.3))


def wider_decoder(model: codec.Codec) -> codec.Codec:
    """The same encoder and codebooks before a decoder of another size."""
    config = from_dict(codec.CodecConfig, TINY_CONFIG | {"network": TINY_CONFIG["network"] | {"decoder_dim": 24}})
    other = codec.Codec(config).eval()
    other.encoder.load_state_dict(model.encoder.state_dict())
    other.quantizer.load_state_dict(model.quantizer.state_dict())
    return other


def test_shipped_model_keeps_its_name():
    assert codec.load(device="cpu").fingerprint == SHIPPED


def test_tokens_of_the_model_that_was_shipped_before_are_refused(wav):
    shipped = codec.load(device="cpu")
    with pytest.raises(CodecError, match=SHIPPED_BEFORE):
        shipped.decode(replace(shipped.encode(wav), fingerprint=SHIPPED_BEFORE))


def test_tokens_of_a_former_name_are_decoded(model, wav):
    model.aliases = codec.model.aliases.Aliases(model.fingerprint, ("00ff",))
    tokens = model.encode(wav)
    assert torch.equal(model.decode(replace(tokens, fingerprint="00ff")), model.decode(tokens))


def test_former_names_belong_to_these_weights_alone(model, wav):
    model.aliases = codec.model.aliases.Aliases(model.fingerprint, ("00ff",))
    former = replace(model.encode(wav), fingerprint="00ff")
    model.requires_grad_(False).encoder.backbone.embed.bias += 0.01
    with pytest.raises(CodecError, match="00ff"):
        model.decode(former)


def test_former_names_are_saved_with_the_model(model, tmp_path):
    model.aliases = codec.model.aliases.Aliases(model.fingerprint, ("00ff",))
    codec.save(model, tmp_path)
    assert codec.load(tmp_path, device="cpu").understands("00ff")
    codec.save(make_tiny_model(1), tmp_path)
    assert not codec.load(tmp_path, device="cpu").understands("00ff")


def test_damaged_file_of_former_names(model, tmp_path):
    codec.save(model, tmp_path)
    (tmp_path / "aliases.json").write_text('{"fingerprint": 3}')
    with pytest.raises(CodecError, match=r"aliases\.json: damaged"):
        codec.load(tmp_path, device="cpu")


CHANGES = {
    "other weights loaded": lambda m: m.load_state_dict(make_tiny_model(1).state_dict()),
    "tensors replaced": lambda m: m.load_state_dict(make_tiny_model(1).state_dict(), assign=True),
    "weights in place": lambda m: m.encoder.backbone.out.bias.add_(0.1),
    "weights through .data": lambda m: m.encoder.backbone.out.weight.data.mul_(1.1),
    "weights through numpy": lambda m: m.encoder.backbone.out.bias.numpy().__iadd__(0.1),
    "a codebook in place": lambda m: m.quantizer.codebooks[2].mul_(1.1),
}


@pytest.mark.parametrize("name", CHANGES)
def test_changed_encoder_changes_it(model, wav, name):
    before, tokens = model.fingerprint, model.encode(wav)
    with torch.no_grad():
        CHANGES[name](model)
    assert tokens.fingerprint == before != model.fingerprint
    assert model.encode(wav).fingerprint == model.fingerprint
    with pytest.raises(CodecError, match="tokens were made by model"):
        model.decode(tokens)


def test_changed_decoder_does_not(model, wav):
    tokens = model.encode(wav)
    with torch.no_grad():
        for weight in model.decoder.parameters():
            weight.mul_(1.1)
    assert model.fingerprint == tokens.fingerprint
    assert wider_decoder(model).fingerprint == model.fingerprint
    wider_decoder(model).decode(tokens)


def test_decoder_has_a_hash_of_its_own(model):
    before = module.decoder_fingerprint(model)
    assert module.decoder_fingerprint(wider_decoder(model)) != before
    with torch.no_grad():
        model.quantizer.codebooks[0].mul_(1.1)
    assert module.decoder_fingerprint(model) != before


def test_sample_rate_and_settings_without_tensors_count(model):
    names = {model.fingerprint}
    for change in ({"sample_rate": 24_000}, {"network": replace(model.config.network, compression=0.5)}):
        other = copy.deepcopy(model)
        other.config = replace(model.config, **change)
        names.add(other.fingerprint)
    assert len(names) == 3


@dataclasses.dataclass(frozen=True)
class _Later(type(make_tiny_model().config.network)):
    """The settings of a later version."""

    novelty: float = 0.0


def test_a_new_setting_counts_when_it_is_used(model):
    before = model.fingerprint
    old = dataclasses.asdict(model.config.network)
    for value, same in ((0.0, True), (0.5, False)):
        later = copy.deepcopy(model)
        object.__setattr__(later.config, "network", _Later(**old, novelty=value))
        assert (later.fingerprint == before) == same


def test_the_model_in_training_stamps_the_weights_of_the_moment(model, wav):
    model.train()
    before = model.encode(wav).fingerprint
    assert before == model.fingerprint
    with torch.no_grad():
        model.encoder.backbone.out.bias.add_(0.1)
    assert model.encode(wav).fingerprint not in (before, None)


def test_graphs_fit_by_their_settings_not_by_their_text(model):
    text = config_to_json(model.config)
    shorter = json.loads(text)
    # A setting that came later is missing from older files.
    del shorter["network"]["compression"]
    assert layout.config_fits(model, json.dumps(shorter))
    shorter["network"]["encoder_layers"] = 3
    assert not layout.config_fits(model, json.dumps(shorter))
    assert not layout.config_fits(model, '{"of": "a later version"}')
    assert not layout.config_fits(model, None)
