"""SpeechTokenizer and DM-Codec: what is imported computes what the original computes."""

import pytest
import torch
from originals import SPEECHTOKENIZER, check_equal, noise, speechtokenizer, write
from torch import nn
from torch.nn.utils import remove_weight_norm
from torch.nn.utils.parametrizations import weight_norm

import codec
from codec.errors import CodecError
from codec.importing import import_checkpoint
from codec.importing.originals import SpeechTokenizerOriginal

HOP = 40
LENGTHS = (1, 39, 40, 41, 333, 1001)


def read(tmp_path, tensors, config=SPEECHTOKENIZER, **options) -> codec.Codec:
    return import_checkpoint(write(tmp_path / "original", tensors, config), **options).model


@pytest.mark.parametrize("changes", [
    {},
    {"activation": "Snake"},
    {"n_residual_layers": 2, "strides": [3, 2], "sample_rate": 24_000, "residual_kernel_size": 5},
    {"bidirectional": False, "lstm_layers": 1, "semantic_dimension": 6},
    {"lstm_layers": 0, "bidirectional": False, "n_filters": 4},
])
def test_codes_and_sound_are_those_of_the_original(tmp_path, changes):
    original = speechtokenizer(**changes)
    model = read(tmp_path, original.state_dict(), SPEECHTOKENIZER | changes)
    check_equal(model, SpeechTokenizerOriginal(original), LENGTHS)
    assert model.sample_rate == changes.get("sample_rate", 16_000)
    codes = model.encode(noise(1, 5000)).codes
    assert all(len(layer.unique()) > 4 for layer in codes[0])


def test_the_first_layers_alone_decode_as_in_the_original(tmp_path):
    original = speechtokenizer()
    model = read(tmp_path, original.state_dict())
    tokens = model.encode(noise(1, 999), num_codebooks=2)
    expected = original.decode(tokens.codes.transpose(0, 1))[:, 0, :999]
    torch.testing.assert_close(model.decode(tokens), expected.detach().clamp(-1, 1), atol=1e-5, rtol=0)


def test_a_padded_batch_has_the_codes_of_single_clips(tmp_path):
    original = speechtokenizer()
    model = read(tmp_path, original.state_dict())
    wavs = [noise(samples, seed=samples) for samples in LENGTHS]
    tokens = model.encode(wavs)
    for index, wav in enumerate(wavs):
        codes = original.encode(wav[None, None])[:, 0]
        assert torch.equal(tokens[index].codes[0, :, : codes.shape[1]], codes)


def test_it_does_not_stream_and_says_so(tmp_path):
    model = read(tmp_path, speechtokenizer().state_dict())
    assert not model.causal
    with pytest.raises(CodecError, match="needs the whole recording and cannot stream"):
        model.streaming_encoder()


def fused() -> nn.Module:
    model = speechtokenizer()
    for module in model.modules():
        if hasattr(module, "weight_g"):
            remove_weight_norm(module)
    return model


def parametrized() -> nn.Module:
    model = fused()
    for module in model.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(module)
    return model


FORMS = {
    "fused": lambda _: fused().state_dict(),
    "parametrized": lambda _: parametrized().state_dict(),
    "module.": lambda model: {f"module.{name}": tensor for name, tensor in model.state_dict().items()},
    "trainer": lambda model: {
        "generator": model.state_dict(),
        "discriminators": {"mpd": {"convs.0.bias": torch.zeros(2)}},
        "optim_g": torch.optim.AdamW(model.parameters()).state_dict(),
        "best_dev_mel_loss": 0.5,
    },
    "module. in a trainer's package": lambda model: {
        "generator": {f"module.{name}": tensor for name, tensor in model.state_dict().items()},
        "best_dev_mel_loss": torch.tensor(0.5),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_published_form_has_the_same_codes(tmp_path, form):
    original = speechtokenizer()
    wav = noise(1, 1001)
    model = read(tmp_path, FORMS[form](original))
    assert torch.equal(model.encode(wav).codes, original.encode(wav.unsqueeze(1)).transpose(0, 1))


def test_a_package_of_the_trainer_has_no_suffix(tmp_path):
    original = speechtokenizer()
    folder = write(tmp_path, {"generator": original.state_dict()}, SPEECHTOKENIZER, "ModelTrainer_00001000")
    check_equal(import_checkpoint(folder, "dm-codec").model, SpeechTokenizerOriginal(original), LENGTHS)


def test_projected_codebooks_are_found_by_their_tensors(tmp_path):
    """The config's ``codebook_dim`` decides nothing: published files have it beside plain codebooks."""
    original = speechtokenizer()
    from speechtokenizer.quantization.core_vq import ResidualVectorQuantization

    torch.manual_seed(0)
    original.quantizer.vq = ResidualVectorQuantization(
        num_quantizers=3, dim=6, codebook_size=16, codebook_dim=4, decay=0.99, kmeans_init=False
    ).eval()
    for layer in original.quantizer.vq.layers:
        layer._codebook.embed.normal_(std=0.3)
    model = read(tmp_path, original.state_dict(), SPEECHTOKENIZER | {"codebook_dim": 512})
    assert model.config.quantizer.dim == 4
    check_equal(model, SpeechTokenizerOriginal(original), LENGTHS)


def test_without_a_config_the_rate_is_assumed_with_a_note(tmp_path):
    original = speechtokenizer()
    result = import_checkpoint(write(tmp_path, original.state_dict(), None) / "SpeechTokenizer.pt")
    assert result.model.sample_rate == 16_000
    assert "16000 Hz is assumed" in " ".join(result.notes)
    check_equal(result.model, SpeechTokenizerOriginal(original), LENGTHS)


def test_what_is_saved_loads_with_the_same_fingerprint(tmp_path):
    model = read(tmp_path, speechtokenizer().state_dict())
    codec.save(model, tmp_path / "ours")
    loaded = codec.load(tmp_path / "ours", device="cpu")
    assert loaded.fingerprint == model.fingerprint
    assert {path.name for path in (tmp_path / "ours").iterdir()} == {"config.json", "model.safetensors"}
