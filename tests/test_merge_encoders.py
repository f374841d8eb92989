"""Merging speech encoders of transformers, tiny random ones; what comes out, from_pretrained loads."""

import json

import pytest
import torch
import transformers
from tiny_teachers import CONV, SMALL

import codec
from codec.model.lineage import Base, read_base, write_base

KINDS = {
    "hubert": (transformers.HubertConfig, transformers.HubertModel, transformers.HubertForCTC),
    "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model, transformers.Wav2Vec2ForCTC),
    "wavlm": (transformers.WavLMConfig, transformers.WavLMModel, transformers.WavLMForCTC),
}


def make(kind, seed=0, **changes):
    torch.manual_seed(seed)
    config_class, model_class, _ = KINDS[kind]
    return model_class(config_class(**{**SMALL, **CONV, "vocab_size": 4, **changes})).eval()


def moved(model, seed):
    """A model of the same class whose weights moved a little."""
    torch.manual_seed(seed)
    other = type(model)(model.config).eval()
    other.load_state_dict(
        {name: t + 0.1 * t.std(correction=0) * torch.randn_like(t) for name, t in model.state_dict().items()}
    )
    return other


@pytest.fixture(scope="module", params=KINDS)
def family(request, tmp_path_factory):
    """Folders of a base, a branch, and a branch with a CTC head as fine-tuning leaves it; and the models."""
    folder, base = tmp_path_factory.mktemp(request.param), make(request.param)
    first, second = moved(base, 1), moved(base, 2)
    headed = KINDS[request.param][2](base.config)
    headed.base_model.load_state_dict(second.state_dict())
    base.save_pretrained(folder / "base")
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder / "base")
    first.save_pretrained(folder / "plain")
    headed.save_pretrained(folder / "headed")
    return folder, base, first, second


def hidden(model):
    wav = torch.randn(1, 3200, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model(wav).last_hidden_state


def plain_weights(model):
    """Parameters with weight norm computed."""
    values = {name: t for name, t in model.state_dict().items() if "parametrizations" not in name}
    return values | {"pos_conv": model.encoder.pos_conv_embed.conv.weight.detach()}


def test_two_encoders_are_merged_to_a_folder_that_loads(family, tmp_path):
    folder, base, first, second = family
    out = tmp_path / "merged"
    codec.merge(folder / "base", {folder / "plain": 0.7, folder / "headed": 0.6}, out)
    loaded = transformers.AutoModel.from_pretrained(out).eval()
    assert type(loaded) is type(base)
    parts = [plain_weights(model) for model in (base, first, second)]
    for name, tensor in plain_weights(loaded).items():
        start, one, two = (part[name] for part in parts)
        torch.testing.assert_close(
            tensor, start + 0.7 * (one - start) + 0.6 * (two - start), rtol=1e-5, atol=1e-6
        )
    assert not torch.equal(hidden(loaded), hidden(base))
    assert transformers.AutoFeatureExtractor.from_pretrained(out).do_normalize
    report = json.loads((out / "merge.json").read_text())
    assert report["models"][1]["name"] == "headed" and report["base"]["hashes"]["fingerprint"]
    # The result names its base; with that name it is a branch that is checked.
    assert read_base(out).fingerprint == report["base"]["hashes"]["fingerprint"]


def test_the_ends_are_the_base_and_the_branch_bit_for_bit(family, tmp_path):
    folder, base, first, _ = family
    for weight, expected in ((0.0, base), (1.0, first)):
        codec.merge(folder / "base", {folder / "plain": weight}, tmp_path / "merged")
        loaded = transformers.AutoModel.from_pretrained(tmp_path / "merged").eval()
        for name, tensor in expected.state_dict().items():
            assert torch.equal(loaded.state_dict()[name], tensor), name


def test_encoders_of_other_starts_and_records_are_refused(family, tmp_path):
    folder, base, *_ = family
    kind = base.config.model_type
    make(kind, seed=5).save_pretrained(tmp_path / "stranger")
    with pytest.raises(codec.CodecError, match=r"stranger: its weights have a cosine of -?0\.\d\d with"):
        codec.merge(folder / "base", {tmp_path / "stranger": 0.5})
    moved(base, 3).save_pretrained(tmp_path / "named")
    write_base(tmp_path / "named", Base("0" * 16))
    with pytest.raises(codec.CodecError, match="named: was trained from 0000000000000000, not from"):
        codec.merge(folder / "base", {tmp_path / "named": 0.5})
    make(kind, intermediate_size=24).save_pretrained(tmp_path / "wide")
    with pytest.raises(codec.CodecError, match="has another shape than the base's"):
        codec.merge(folder / "base", {tmp_path / "wide": 0.5})
    make(kind, num_hidden_layers=1).save_pretrained(tmp_path / "flat")
    with pytest.raises(codec.CodecError, match="lacks the base's tensor"):
        codec.merge(folder / "base", {tmp_path / "flat": 0.5})


def test_what_is_no_encoder_is_refused(family, tmp_path, tiny_model_dir):
    folder, *_ = family
    with pytest.raises(codec.CodecError, match="a codec and a transformers encoder; merge one kind"):
        codec.merge(folder / "base", {tiny_model_dir: 0.5})
    config = transformers.BertConfig(**SMALL, vocab_size=30)
    transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    with pytest.raises(codec.CodecError, match="bert: a model of type 'bert'; merged are hubert, wav2vec2"):
        codec.merge(folder / "base", {tmp_path / "bert": 0.5})
    bad = moved(family[1], 4)
    bad.state_dict()["encoder.layers.0.feed_forward.output_dense.weight"][0, 0] = float("inf")
    bad.save_pretrained(tmp_path / "bad")
    with pytest.raises(codec.CodecError, match="output_dense.weight holds NaN or infinite values"):
        codec.merge(folder / "base", {tmp_path / "bad": 0.5})
