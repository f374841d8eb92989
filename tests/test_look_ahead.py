"""Laws of encoders that look ahead: what a frame sees, when it comes, and that nobody gets the frames before the start."""

import pytest
import torch
from conftest import make_speech, make_tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st

import codec
from codec.corpora.device import DeviceEncoder, fits
from codec.data.manifest import Clip
from codec.errors import CodecError
from codec.eval.probes.sources import ModelTokens
from codec.merging.learn import Reconstruction
from codec.model.spectral import SpectralConfig
from codec.model.transfer import fitting_weights
from codec.pretraining.models.frames import latents
from codec.serve.config import ServeConfig
from codec.serve.offer import Offer
from codec.serve.protocol import Agreed

HOP = 320
MODELS = {frames: make_tiny_model(look_ahead=frames) for frames in (0, 1, 2)}
SPEECH = torch.from_numpy(make_speech(2.0))


@pytest.mark.parametrize("ahead", MODELS)
def test_a_frame_waits_for_as_many_frames_as_it_looks_ahead_and_for_no_more(ahead):
    model = MODELS[ahead]
    assert model.latency.samples == 2 * HOP + ahead * HOP
    other = SPEECH.clone()
    other[20 * HOP :] = 0.1 * torch.randn(len(SPEECH) - 20 * HOP)
    latent, changed = (model.encoder.whole(wav[None]) for wav in (SPEECH, other))
    torch.testing.assert_close(latent[..., : 20 - ahead], changed[..., : 20 - ahead], atol=0, rtol=0)
    assert not torch.allclose(latent[..., 20 - ahead], changed[..., 20 - ahead])


@pytest.mark.parametrize("ahead", MODELS)
def test_the_stated_latency_is_that_of_streams(ahead):
    """The first code comes with the encoder's latency, and the first audio after the model's."""
    model = MODELS[ahead]
    encoder, decoder = model.streaming_encoder(), model.streaming_decoder()
    assert encoder.latency.samples == (1 + ahead) * HOP
    heard, first = 0, {}
    for sample in SPEECH[: 6 * HOP].split(HOP // 4):
        heard += len(sample)
        codes = encoder.push(sample)
        if codes.shape[2]:
            first.setdefault("code", heard)
        if decoder.push(codes).shape[1]:
            first.setdefault("audio", heard)
    assert first == {"code": encoder.latency.samples, "audio": model.latency.samples}


@pytest.mark.parametrize("ahead", MODELS)
def test_a_server_says_the_same_latency(ahead):
    offer = Offer(MODELS[ahead], ServeConfig())
    expected = {"encode": 20.0 * (1 + ahead), "decode": 20.0, "both": 40.0 + 20.0 * ahead}
    for mode, milliseconds in expected.items():
        assert f'"latency_ms": {milliseconds}' in offer.ready(Agreed(mode, 16_000, 8))


@pytest.mark.parametrize("ahead", MODELS)
def test_what_follows_a_clip_is_silence(ahead):
    """A clip has the codes of the same clip with more silence, as far as it goes."""
    model, wav = MODELS[ahead], SPEECH[: 9 * HOP + 50]
    tokens = model.encode(wav)
    longer = model.encode(torch.nn.functional.pad(wav, (0, 5 * HOP)))
    assert tokens.codes.shape[2] == 10
    assert torch.equal(tokens.codes, longer.codes[:, :, :10])


@settings(max_examples=10, deadline=None, derandomize=True)
@given(ahead=st.sampled_from(sorted(MODELS)), samples=st.integers(1, 12 * HOP))
def test_all_that_hear_clips_hear_the_same_frames(ahead, samples):
    model, wav = MODELS[ahead], SPEECH[:samples]
    codes = model.encode(wav).codes
    padded = torch.nn.functional.pad(wav, (0, -samples % HOP))
    latent = model.encoder.whole(padded[None])
    assert torch.equal(model.quantizer.encode(latent), codes)
    torch.testing.assert_close(latents(model.encoder, wav, HOP), latent[0].T, atol=1e-5, rtol=1e-5)
    assert fits(model)
    on_device = DeviceEncoder(model, 8)
    assert torch.equal(on_device.finish(on_device.start([wav]))[0], codes[0])


def test_latents_in_chunks_are_those_of_the_whole(monkeypatch):
    whole = latents(MODELS[2].encoder, SPEECH, HOP)
    monkeypatch.setattr("codec.pretraining.models.frames._CHUNK", 3)
    torch.testing.assert_close(latents(MODELS[2].encoder, SPEECH, HOP), whole, atol=1e-5, rtol=1e-5)


def test_probes_and_merges_hear_them_too(tmp_path, monkeypatch):
    model, wav = MODELS[2], SPEECH[: 20 * HOP]
    codec.save_audio(tmp_path / "a.wav", wav, 16_000)
    clip = Clip("a.wav", 0.4, root=str(tmp_path))
    heard = codec.load_audio(tmp_path / "a.wav", 16_000).wav
    expected = model.encoder.whole(heard[None])
    assert torch.equal(ModelTokens(model).latents(clip), expected[0].T)
    seen, encode = [], model.quantizer.encode
    monkeypatch.setattr(model.quantizer, "encode", lambda latent: seen.append(latent) or encode(latent))
    Reconstruction(model)(dict(model.state_dict()), heard[None])
    torch.testing.assert_close(seen[0], expected)


def test_the_blocks_that_look_ahead_keep_their_weights():
    """A model learns to look ahead from one that does not: the tensors are the same."""
    plain, ahead = MODELS[0].state_dict(), MODELS[2].state_dict()
    assert {name: tensor.shape for name, tensor in plain.items()} == {
        name: tensor.shape for name, tensor in ahead.items()
    }
    assert MODELS[0].fingerprint != MODELS[1].fingerprint != MODELS[2].fingerprint


@pytest.mark.parametrize(
    "settings_",
    [
        {"look_ahead": -1},
        {"look_ahead": 7},
        {"look_ahead": 4, "semantic_layers": 1, "semantic_from": 3, "semantic_dim": 8},
        {"look_ahead": 1, "kernel_size": 1},
    ],
    ids=str,
)
def test_more_than_the_blocks_can_wait_for_is_refused(settings_):
    with pytest.raises(CodecError, match=r"look_ahead .* must be 0 to [0-9]+"):
        SpectralConfig(**settings_)


@pytest.mark.parametrize("value", [1.0, 1.5, True, "1", None])
def test_settings_that_are_not_whole_numbers_are_refused(value):
    with pytest.raises(CodecError, match="look_ahead is .*; it must be a whole number"):
        SpectralConfig(look_ahead=value)


@pytest.mark.parametrize("before", MODELS)
@pytest.mark.parametrize("after", MODELS)
def test_a_saved_stream_goes_on_with_the_same_look_ahead_only(before, after):
    stream, other = MODELS[before].streaming_encoder(), MODELS[after].streaming_encoder()
    codes = [stream.push(SPEECH[: 10 * HOP])]
    if before != after:
        with pytest.raises(CodecError, match="of another model, batch or mode"):
            other.load_state_dict(stream.state_dict())
        return
    other.load_state_dict(stream.state_dict())
    codes += [other.push(SPEECH[10 * HOP :]), other.flush()]
    assert torch.equal(torch.cat(codes, 2), MODELS[after].encode(SPEECH).codes)


@pytest.mark.parametrize("early", [[-3], [99], [1.5], [[1]]])
def test_a_saved_stream_that_cannot_be_is_refused(early):
    stream = MODELS[1].streaming_encoder()
    stream.push(SPEECH[: 10 * HOP])
    with pytest.raises(CodecError, match="of another model, batch or mode"):
        stream.load_state_dict({**stream.state_dict(), "early": torch.tensor(early)})


@pytest.mark.parametrize(("layers", "ahead", "same"), [(5, 0, True), (5, 1, False), (4, 0, True)])
def test_a_semantic_part_keeps_its_tokens_or_is_refused(layers, ahead, same):
    """Blocks of the backbone that are new may look ahead; those of the semantic part are not new."""
    semantic = {"encoder_layers": 4, "semantic_layers": 2, "semantic_from": 2, "semantic_dim": 3}
    source = make_tiny_model(**semantic)
    target = make_tiny_model(seed=9, **{**semantic, "encoder_layers": layers, "look_ahead": ahead})
    weights = fitting_weights(source, target)
    assert (weights is not None) == same
    if weights is not None:
        target.load_state_dict(weights)
        assert torch.equal(target.encode(SPEECH).codes, source.encode(SPEECH).codes)
