"""DAC: what is imported computes what the model of transformers computes."""

import json
import re

import pytest
import torch
from originals import check_equal, check_padded_batch, dac, imported, noise, write

from codec.errors import CodecError
from codec.importing import import_checkpoint
from codec.importing.originals import DacOriginal

LENGTHS = (1, 39, 40, 41, 333, 1001)


@pytest.mark.parametrize("changes", [
    {},
    {"sampling_rate": 44_100, "downsampling_ratios": [2, 4, 4]},
    {"sampling_rate": 24_000, "downsampling_ratios": [3, 2], "n_codebooks": 5, "decoder_hidden_size": 12},
])
def test_codes_and_sound_are_those_of_the_original(tmp_path, changes):
    original = dac(**changes)
    model = imported(tmp_path, original)
    check_equal(model, DacOriginal(original), LENGTHS)
    assert model.sample_rate == changes.get("sampling_rate", 16_000)
    assert all(len(layer.unique()) > 2 for layer in model.encode(noise(1, 5000)).codes[0])


def test_fewer_codebooks(tmp_path):
    original = dac()
    wav = noise(1, 400)
    tokens = imported(tmp_path, original).encode(wav, num_codebooks=2)
    assert torch.equal(tokens.codes, original.encode(wav.unsqueeze(1), n_quantizers=2).audio_codes)


@pytest.mark.parametrize("settings", [None, {"sample_rate": 24_000, "encoder_rates": [2, 5, 4], "n_codebooks": 3}])
def test_the_original_file_with_its_own_settings(tmp_path, settings):
    original = dac()
    original.apply_weight_norm()
    tensors = {original_name(name): tensor for name, tensor in original.state_dict().items()}
    content = {"state_dict": tensors, "metadata": {"kwargs": settings}} if settings else tensors
    result = import_checkpoint(write(tmp_path, content, None, "weights.pth"))
    check_equal(result.model, DacOriginal(original), LENGTHS)
    assert result.model.sample_rate == (24_000 if settings else 44_100)
    assert bool(settings) == ("is assumed" not in " ".join(result.notes))


def original_name(name: str) -> str:
    """A tensor's name in the original code, where layers have positions."""
    for theirs, its in {
        "parametrizations.weight.original0": "weight_g",
        "parametrizations.weight.original1": "weight_v",
    }.items():
        name = name.replace(theirs, its)
    if name.startswith("quantizer"):
        return name
    part, first, *rest = name.split(".")
    sequence, unit = {"encoder": "block", "decoder": "model"}[part], {"snake1": 0, "conv1": 1, "snake2": 2, "conv2": 3}
    stages = {"encoder": ["res_unit1", "res_unit2", "res_unit3", "snake1", "conv1"]}
    stages["decoder"] = ["snake1", "conv_t1", "res_unit1", "res_unit2", "res_unit3"]
    if first != "block":
        return ".".join([part, sequence, {"conv1": "0", "snake1": "4", "conv2": "5"}[first], *rest])
    stage, layer, *inside = rest
    place = [part, sequence, str(int(stage) + 1), "block", str(stages[part].index(layer))]
    inside = ["block", str(unit[inside[0]]), *inside[1:]] if inside[0] in unit else inside
    return ".".join([*place, *inside])


def test_a_padded_batch_has_the_codes_of_single_clips(tmp_path):
    check_padded_batch(imported(tmp_path, dac()), LENGTHS)


def test_it_does_not_stream_and_says_so(tmp_path):
    model = imported(tmp_path, dac())
    assert model.latency is None
    for stream in (model.streaming_encoder, model.streaming_decoder):
        with pytest.raises(CodecError, match="needs the whole recording and cannot stream"):
            stream()


@pytest.mark.parametrize(("changes", "match"), [
    ({"downsampling_ratios": [2, 4, 8, 8]}, "downsampling_ratios is [2, 4, 8, 8], but the tensors"),
    ({"hop_length": 512}, "hop_length is 512, but the tensors of model.safetensors show 40"),
    ({"frame_rate": 86, "sampling_rate": 44_100}, "86 frames per second at 44100 Hz, but the tensors"),
    ({"n_codebooks": 9}, "n_codebooks is 9, but the tensors"),
])
def test_a_config_that_contradicts_the_weights(tmp_path, changes, match):
    dac().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CodecError, match=re.escape(match)):
        import_checkpoint(tmp_path)
