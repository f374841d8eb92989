"""Pre-trained encoders in transformers: equal features, whatever the batch, the padding and the process."""

import json
import os
import subprocess
import sys

import pytest
import torch
from conftest import TINY_CONFIG
from pretraining_runs import ENCODER

from codec.config import from_dict
from codec.errors import CodecError
from codec.pretraining.models.config import PatchEncoderConfig
from codec.pretraining.models.files import load_pretrained, save_pretrained
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import PatchEncoder

pytest.importorskip("transformers")

from transformers import AutoConfig, AutoModel

from codec.hf import AudioEncoderConfig, AudioEncoderModel

READ = """
import sys
import torch
import codec.hf
from safetensors.torch import load_file, save_file
from transformers import AutoModel

folder, wavs, out = sys.argv[1:]
model = AutoModel.from_pretrained(folder)
save_file({"frames": model(load_file(wavs)["wav"]).last_hidden_state}, out)
"""


@pytest.fixture(scope="module", params=["matpac", "frames"])
def pair(request, tmp_path_factory):
    """An encoder, and the same as transformers loads it."""
    torch.manual_seed(0)
    if request.param == "matpac":
        encoder = PatchEncoder(from_dict(PatchEncoderConfig, ENCODER)).eval()
    else:
        encoder = FrameEncoder(from_dict(FrameEncoderConfig, {"model": TINY_CONFIG})).eval()
    folder = tmp_path_factory.mktemp(request.param)
    save_pretrained(encoder, folder)
    return encoder, AutoModel.from_pretrained(folder), folder


def noise(*lengths):
    generator = torch.Generator().manual_seed(1)
    return [0.1 * torch.randn(length, generator=generator) for length in lengths]


def test_features_are_those_of_the_encoder(pair):
    encoder, model, _ = pair
    assert isinstance(model, AudioEncoderModel)
    wav = noise(3001)[0]
    expected = encoder.frames([wav])[0]
    found = model(wav[None])
    assert torch.equal(found.last_hidden_state[0], expected)
    assert torch.equal(found.pooler_output[0], expected.mean(dim=0)) and bool(found.frames_mask.all())
    config = model.config
    assert (config.hidden_size, config.sampling_rate, config.frame_rate) == (
        encoder.dim,
        encoder.sample_rate,
        encoder.rate,
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_padded_batch_is_its_clips_alone(pair, side):
    encoder, model, _ = pair
    wavs = noise(3000, 641, 1900)
    pads = [(0, 3000 - len(wav)) if side == "right" else (3000 - len(wav), 0) for wav in wavs]
    batch = torch.stack([torch.nn.functional.pad(wav, pad) for wav, pad in zip(wavs, pads, strict=True)])
    mask = torch.stack(
        [torch.nn.functional.pad(torch.ones_like(wav), pad) for wav, pad in zip(wavs, pads, strict=True)]
    )
    found = model(batch[:, None], mask[:, None])
    for row, wav in enumerate(wavs):
        expected = encoder.frames([wav])[0]
        held = found.last_hidden_state[row]
        assert int(found.frames_mask[row].sum()) == len(expected)
        assert torch.allclose(held[: len(expected)], expected, atol=1e-5) and not held[len(expected) :].any()
        assert torch.allclose(found.pooler_output[row], expected.mean(dim=0), atol=1e-5)
    states, pooled, _ = model(batch, attention_mask=mask, return_dict=False)
    assert torch.equal(states, found.last_hidden_state) and torch.equal(pooled, found.pooler_output)


def test_a_fresh_process_has_equal_features(pair, tmp_path):
    from safetensors.torch import load_file, save_file

    encoder, model, _ = pair
    model.save_pretrained(tmp_path / "saved")
    wav = torch.stack(noise(2500, 2500))
    save_file({"wav": wav}, tmp_path / "wav.safetensors")
    arguments = [str(tmp_path / name) for name in ("saved", "wav.safetensors", "out.safetensors")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", READ, *arguments], env=environment, check=True)
    found = load_file(tmp_path / "out.safetensors")["frames"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert torch.equal(found, model(wav).last_hidden_state)
    finally:
        torch.set_num_threads(threads)
    # What transformers saved is a folder of ours, too.
    again = load_pretrained(tmp_path / "saved", "cpu")
    for name, value in encoder.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_construction_on_meta_and_from_a_config(pair):
    _, model, folder = pair
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, AudioEncoderConfig) and config.encoder == json.loads(
        (folder / "config.json").read_text()
    )["encoder"]
    fresh = AutoModel.from_config(config)
    assert fresh.state_dict().keys() == model.state_dict().keys()
    assert bool(fresh(noise(2000)[0][None]).last_hidden_state.isfinite().all())


def test_folders_of_earlier_versions_are_read(pair):
    encoder, _, folder = pair
    path = folder / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({"kind": values["kind"], **values["encoder"]}))
    try:
        assert load_pretrained(folder, "cpu").dim == encoder.dim
    finally:
        path.write_text(json.dumps(values))


def test_what_is_wrong_is_one_line(pair):
    _, model, _ = pair
    with pytest.raises(CodecError, match="mono"):
        model(torch.zeros(1, 2, 500))
    with pytest.raises(CodecError, match="holes"):
        model(torch.zeros(1, 4), torch.tensor([[1, 0, 1, 1]]))
    with pytest.raises(CodecError, match="hops"):
        AudioEncoderConfig("matpac", {"hops": 1})
