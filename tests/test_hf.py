"""The model for transformers: equal codes, whatever the batch, the padding, the type and the process."""

import importlib.metadata
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import TINY_CONFIG, make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from seanet_models import CAUSAL_LSTM, make_seanet
from seanet_models import TINY as SEANET

import codec
from codec.config import from_dict
from codec.model.config import config_to_dict

transformers = pytest.importorskip("transformers")

from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, EncodecFeatureExtractor

import codec.hf
from codec.hf import SpeechCodecConfig, SpeechCodecModel
from codec.hub.remote import flat_sources

TINY = config_to_dict(make_tiny_model().config)
MODELS = ("spectral", "noise", "seanet", "fsq", "whole")
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "codec":
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Blocker())
"""


def make(kind: str) -> codec.Codec:
    if kind == "noise":
        return make_tiny_model(noise_bands=8)
    if kind == "spectral":
        return make_tiny_model()
    if kind == "fsq":
        torch.manual_seed(1)
        config = {**TINY_CONFIG, "quantizer": {"type": "fsq", "levels": [5, 5, 3]}}
        return codec.Codec(from_dict(codec.CodecConfig, config)).eval().requires_grad_(False)
    return make_seanet(CAUSAL_LSTM if kind == "seanet" else SEANET)


@pytest.fixture(scope="module", params=MODELS)
def pair(request, tmp_path_factory):
    """A model, and the same as transformers loads it."""
    folder, model = tmp_path_factory.mktemp(request.param), make(request.param)
    model.save_pretrained(folder)
    return model, AutoModel.from_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    make_tiny_model(noise_bands=8).save_pretrained(folder, remote_code=True)
    return folder


@pytest.fixture(scope="module")
def tiny():
    hf = SpeechCodecModel(SpeechCodecConfig(TINY))
    hf.load_state_dict(make_tiny_model().state_dict())
    return hf


def clips_of(lengths, seed=0):
    generator = np.random.default_rng(seed)
    return [generator.normal(0, 0.1, n).astype(np.float32) for n in lengths]


def padded(clips, side="right"):
    extractor = EncodecFeatureExtractor(sampling_rate=16_000, padding_side=side)
    return extractor(raw_audio=clips, sampling_rate=16_000, return_tensors="pt")


def test_codes_and_audio_are_those_of_codec(pair):
    model, hf = pair
    clips = clips_of([3001, 640, 1, 5000])
    inputs, tokens = padded(clips), model.encode(clips)
    output = hf.encode(**inputs)
    assert hf.fingerprint == model.fingerprint
    assert torch.equal(output.audio_codes, tokens.codes)
    assert output.audio_codes_mask.sum(dim=1).tolist() == tokens.lengths.tolist()
    assert torch.equal(output.audio_codes_mask, hf.get_audio_codes_mask(inputs["padding_mask"]))
    wav = hf.decode(output.audio_codes, inputs["padding_mask"]).audio_values
    assert torch.equal(wav[:, 0], model.decode(tokens))


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_is_its_clips_alone_bit_for_bit(pair, side):
    _, hf = pair
    clips = clips_of([2000, 641, 320], seed=1)
    inputs = padded(clips, side)
    output = hf(**inputs, deterministic=True)
    for row, clip in enumerate(clips):
        alone = hf(torch.from_numpy(clip)[None, None], deterministic=True)
        frames = alone.audio_codes.shape[-1]
        span = slice(None, frames) if side == "right" else slice(-frames, None)
        assert torch.equal(output.audio_codes[row][:, span], alone.audio_codes[0])
        held = inputs["padding_mask"][row].bool()
        assert torch.equal(output.audio_values[row, 0, held], alone.audio_values[0, 0])
        assert not output.audio_values[row, 0, ~held].any()


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 1500), min_size=1, max_size=4), count=st.integers(1, 8))
def test_lengths_are_what_get_encoded_length_says(lengths, count):
    hf = SpeechCodecModel(SpeechCodecConfig(TINY))
    inputs = padded(clips_of(lengths))
    output = hf.encode(**inputs, num_quantizers=count)
    expected = hf.get_encoded_length(torch.tensor(lengths))
    assert output.audio_codes.shape == (len(lengths), count, int(expected.max()))
    assert output.audio_codes_mask.sum(dim=1).tolist() == expected.tolist()


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 1500), min_size=1, max_size=4),
    extra=st.integers(0, 2000),
    side=st.sampled_from(["right", "left"]),
)
def test_padding_that_all_clips_have_changes_none_of_them(lengths, extra, side, tiny):
    """As of ``padding="max_length"``, for which there are no frames."""
    clips, width = clips_of(lengths), max(lengths) + extra
    wav, mask = torch.zeros(len(clips), 1, width), torch.zeros(len(clips), width, dtype=torch.long)
    for row, clip in enumerate(clips):
        span = slice(len(clip)) if side == "right" else slice(width - len(clip), None)
        wav[row, 0, span], mask[row, span] = torch.from_numpy(clip), 1
    both = tiny(wav, mask, deterministic=True)
    assert torch.equal(tiny.decode(both.audio_codes, mask, deterministic=True).audio_values, both.audio_values)
    for row, clip in enumerate(clips):
        alone = tiny(torch.from_numpy(clip)[None, None], deterministic=True).audio_values[0, 0]
        values = both.audio_values[row, 0]
        first = len(values) - len(clip) if side == "left" else 0
        assert torch.equal(values[first : first + len(clip)], alone)
        assert torch.equal(values.count_nonzero(), alone.count_nonzero())


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_first_frames_of_a_batch_are_decoded_with_its_whole_mask(side, tiny):
    """Codes that were cut at their end, with the mask that the batch was encoded with."""
    inputs = padded(clips_of([1280, 960]), side)
    codes = tiny.encode(**inputs).audio_codes[..., :2]
    whole, cut = (tiny.decode(codes, inputs["padding_mask"][:, :width]).audio_values for width in (1280, 640))
    assert torch.equal(whole, cut)


def test_construction_on_meta_then_loading_gives_equal_codes(pair, tmp_path):
    model, hf = pair
    with torch.device("meta"):
        empty = AutoModel.from_config(hf.config)
    assert all(tensor.is_meta for tensor in empty.state_dict().values())
    hf.save_pretrained(tmp_path)
    again, noise = AutoModel.from_pretrained(tmp_path), torch.randn(1, 1, 3000) * 0.1
    assert torch.equal(again(noise).audio_values, hf(noise).audio_values)
    assert codec.load(tmp_path).fingerprint == model.fingerprint


def test_a_model_inside_one_of_another_type_keeps_its_codes(pair):
    _, hf = pair
    noise = torch.randn(1, 1, 3000) * 0.1
    before = hf(noise)
    outer = torch.nn.Sequential(hf, torch.nn.Linear(2, 2)).to(torch.bfloat16).half()
    assert outer[1].weight.dtype == torch.float16
    assert torch.equal(hf(noise).audio_values, before.audio_values)


def test_loading_in_bfloat16_keeps_the_codes(folder):
    noise = torch.randn(1, 1, 3000) * 0.1
    whole = AutoModel.from_pretrained(folder)
    half = AutoModel.from_pretrained(folder, dtype=torch.bfloat16)
    assert torch.equal(whole(noise).audio_values, half(noise).audio_values)


def test_a_fresh_process_without_codec_gives_equal_codes(folder, tmp_path):
    torch.manual_seed(0)
    noise = torch.randn(2, 1, 3001) * 0.1
    torch.save(noise, tmp_path / "noise.pt")
    script = BLOCKER + f"""
import torch
from transformers import AutoFeatureExtractor, AutoModel
model = AutoModel.from_pretrained({str(folder)!r}, trust_remote_code=True)
assert not any(name.partition(".")[0] == "codec" for name in sys.modules)
AutoFeatureExtractor.from_pretrained({str(folder)!r})
model.save_pretrained({str(tmp_path / "again")!r})
model = AutoModel.from_pretrained({str(tmp_path / "again")!r}, trust_remote_code=True)
output = model(torch.load({str(tmp_path / "noise.pt")!r}))
torch.save([output.audio_codes, output.audio_values], {str(tmp_path / "output.pt")!r})
"""
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    codes, wav = torch.load(tmp_path / "output.pt")
    expected = AutoModel.from_pretrained(folder)(noise)
    assert torch.equal(codes, expected.audio_codes) and torch.equal(wav, expected.audio_values)


def test_remote_code_needs_nothing_beyond_torch_numpy_and_transformers():
    import ast

    installed = {"numpy", "torch", "transformers"}
    for name, text in flat_sources().items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                root = node.module.partition(".")[0]
                assert root in installed or root in sys.stdlib_module_names, (name, root)


def test_what_the_installed_package_saves_names_no_source(folder, tmp_path):
    AutoModel.from_pretrained(folder).save_pretrained(tmp_path)
    assert "auto_map" not in (tmp_path / "config.json").read_text()


def test_the_auto_classes_know_the_model(folder):
    config = AutoConfig.from_pretrained(folder)
    assert type(config) is SpeechCodecConfig and type(AutoModel.from_config(config)) is SpeechCodecModel
    assert type(AutoFeatureExtractor.from_pretrained(folder)) is EncodecFeatureExtractor
    if int(importlib.metadata.version("transformers").partition(".")[0]) >= 5:
        audio = transformers.AutoModelForAudioTokenization.from_pretrained(folder)
        assert type(audio) is SpeechCodecModel


def test_the_config_has_the_fields_that_programs_read():
    config = SpeechCodecConfig()
    assert (config.sampling_rate, config.frame_rate, config.frame_size) == (16_000, 50.0, 320)
    assert (config.num_quantizers, config.num_codebooks, config.codebook_size) == (8, 8, 1024)
    assert (config.audio_channels, config.upsampling_ratios, config.codebook_nbits) == (1, [320], 10)
    assert config.target_bandwidths == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0]
    with pytest.raises(codec.CodecError, match="unknown"):
        SpeechCodecConfig(codec={"network": {"latent_dims": 3}})


@pytest.mark.parametrize(
    "mask, message",
    [
        ([1, 0, 1, 1], "holes"),
        ([0, 1, 1, 0], "both sides"),
        ([0, 0, 0, 0], "no samples"),
        ([1, 1, 1], "does not fit"),
    ],
)
def test_masks_that_cannot_be_meant_are_refused(mask, message):
    hf = SpeechCodecModel(SpeechCodecConfig(TINY))
    with pytest.raises(codec.CodecError, match=message):
        hf.encode(torch.zeros(1, 1, 4), torch.tensor([mask]))


def test_arguments_that_nobody_takes_are_refused():
    hf, wav = SpeechCodecModel(SpeechCodecConfig(TINY)), torch.zeros(1, 1, 640)
    assert hf.encode(wav, use_streaming=False).audio_codes.shape == (1, 8, 2)
    assert hf.encode(wav, bandwidth=1.0).audio_codes.shape == (1, 2, 2)
    for options, message in [
        ({"num_quantizer": 3}, "unknown argument 'num_quantizer'"),
        ({"use_streaming": True}, "streaming_encoder"),
        ({"bandwidth": 0.1}, "bandwidths in kbps"),
        ({"bandwidth": 1.0, "n_quantizers": 2}, "give one of"),
    ]:
        with pytest.raises(codec.CodecError, match=message):
            hf.encode(wav, **options)
    with pytest.raises(codec.CodecError, match="mono"):
        hf.encode(torch.zeros(1, 2, 640))


def test_a_call_with_codes_takes_the_arguments_of_decode(tiny):
    inputs = padded(clips_of([1280, 700]), "left")
    codes, mask = tiny.encode(**inputs).to_tuple()[:2]
    for options in (
        {},
        {"audio_codes_mask": mask},
        {"padding_mask": inputs["padding_mask"]},
        {"audio_codes_mask": mask, "deterministic": True, "audio_scales": [None]},
    ):
        output = tiny(audio_codes=codes, **options)
        assert torch.equal(output.audio_values, tiny.decode(codes, **options).audio_values)
    for options in ({"nonsense": 3}, {"attention_mask": mask}, {"num_quantizers": 3}):
        with pytest.raises(codec.CodecError, match=f"unknown argument '{next(iter(options))}'"):
            tiny(audio_codes=codes, **options)
        with pytest.raises(codec.CodecError, match=f"unknown argument '{next(iter(options))}'"):
            tiny.decode(codes, **options)
