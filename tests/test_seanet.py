"""The ``seanet`` architecture: layers by hand, causal streaming, lengths, gradients, bad settings."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from seanet_models import CAUSAL, CAUSAL_LSTM, HOP, TINY, make_seanet, noise
from torch import nn

from codec.config import from_dict
from codec.errors import CodecError
from codec.model import chunked
from codec.model.config import CodecConfig
from codec.model.seanet import SeanetConfig, SeanetDecoder, SeanetEncoder, tiles
from codec.model.seanet.blocks import LSTM, Snake
from codec.model.seanet.convolutions import Conv, ConvTranspose, reflect_pad
from codec.model.seanet.weight_norm import apply_weight_norm
from codec.model.states import tensors_of


def test_reflection_and_its_zeros_for_short_signals():
    assert reflect_pad(torch.tensor([[[1.0, 2, 3]]]), 2, 1).tolist() == [[[3, 2, 1, 2, 3, 2]]]
    assert reflect_pad(torch.tensor([[[1.0, 2]]]), 3, 3).tolist() == [[[0, 0, 2, 1, 2, 0, 0, 0]]]


def test_bidirectional_lstm_adds_its_input_twice():
    torch.manual_seed(0)
    layer = LSTM(3, layers=1, bidirectional=True)
    backward = LSTM(3, layers=1, bidirectional=False)
    names = dict(layer.lstm.named_parameters())
    backward.lstm.load_state_dict({n: names[f"{n}_reverse"] for n, _ in backward.lstm.named_parameters()})
    x = noise(2, 3, 9)
    expected = backward(x.flip(2))[0].flip(2)
    y, state = layer(x)
    assert y.shape == (2, 6, 9) and state is None
    torch.testing.assert_close(y[:, 3:], expected)


def test_snake_by_hand():
    layer = Snake(2)
    layer.alpha.data = torch.tensor([[[1.0], [2.0]]])
    y, _ = layer(torch.full((1, 2, 1), 0.5))
    expected = [0.5 + torch.sin(torch.tensor(a * 0.5)).item() ** 2 / a for a in (1.0, 2.0)]
    assert y.flatten().tolist() == pytest.approx(expected)


@given(kernel=st.integers(1, 9), stride=st.integers(1, 9), dilation=st.integers(1, 3), cut=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_causal_convolution_streams_and_never_looks_ahead(kernel, stride, dilation, cut):
    kernel, dilation = max(kernel, stride), dilation if stride == 1 else 1
    layer = Conv(2, 3, kernel, stride, dilation, causal=True).requires_grad_(False)
    x = noise(2, 2, 6 * stride)
    whole, _ = layer(x)
    assert whole.shape == (2, 3, 6)
    first, state = layer(x[:, :, : cut * stride]) if cut else (whole[:, :, :0], None)
    second, _ = layer(x[:, :, cut * stride :], state)
    torch.testing.assert_close(torch.cat([first, second], dim=2), whole, atol=1e-6, rtol=1e-5)
    changed = x.clone()
    changed[:, :, cut * stride :] += 1.0
    difference = (layer(changed)[0] - whole).abs().amax(dim=(0, 1))
    # What comes later leaves frames before alone, and the newest sample does reach its frame.
    assert (difference[:cut] == 0).all()
    assert difference[cut] > 0


@given(stride=st.integers(1, 9), cut=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_causal_transposed_convolution_streams_and_never_looks_ahead(stride, cut):
    layer = ConvTranspose(2, 3, stride, causal=True).requires_grad_(False)
    x = noise(2, 2, 6)
    whole, _ = layer(x)
    assert whole.shape == (2, 3, 6 * stride)
    full = layer.convtr.convolution(x)
    torch.testing.assert_close(whole, full[:, :, : 6 * stride], atol=1e-6, rtol=1e-5)
    pieces, state = [], None
    for piece in x.split([cut, 1, 5 - cut], dim=2):
        if piece.shape[2]:
            y, state = layer(piece, state)
            pieces.append(y)
    torch.testing.assert_close(torch.cat(pieces, dim=2), whole, atol=1e-6, rtol=1e-5)
    changed = x.clone()
    changed[:, :, cut:] += 1.0
    difference = (layer(changed)[0] - whole).abs().amax(dim=(0, 1))
    assert (difference[: cut * stride] == 0).all()
    assert difference[cut * stride] > 0


@given(samples=st.integers(1, 60), stride=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_centred_layers_keep_the_frame_law(samples, stride):
    down, up = Conv(1, 2, 2 * stride, stride), ConvTranspose(2, 1, stride)
    frames, _ = down(noise(1, 1, samples))
    assert frames.shape[2] == -(-samples // stride)
    assert up(frames)[0].shape[2] == frames.shape[2] * stride


@pytest.mark.parametrize("tile", [1, 500])
@pytest.mark.parametrize("network", [CAUSAL, CAUSAL_LSTM, CAUSAL | {"edges": "mirror", "n_residual_layers": 2}])
def test_tiles_of_any_length_make_what_the_layers_make(network, tile, monkeypatch):
    model, calls = make_seanet(network), []
    wav = noise(2, 20 * HOP, seed=1)
    latent, state = model.encoder(wav)
    decoded, _ = model.decoder(latent)
    monkeypatch.setattr(tiles, "TILE", tile)
    monkeypatch.setattr(tiles.Stage, "length", lambda stage, true=tiles.Stage.length: calls.append(1) or true(stage))
    with torch.no_grad():
        tiled, tiled_state = model.encoder(wav)
        again, _ = model.decoder(latent)
    assert calls
    torch.testing.assert_close(tiled, latent, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(again, decoded, atol=1e-6, rtol=1e-5)
    for ours, theirs in zip(tensors_of(tiled_state), tensors_of(state), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("network", [CAUSAL, CAUSAL_LSTM, CAUSAL | {"activation": "snake"}])
@pytest.mark.parametrize("chunks", [[1] * 20, [7, 1, 12], [19, 1]])
def test_stream_equals_offline(network, chunks):
    model = make_seanet(network)
    wav = noise(2, 20 * HOP, seed=1)
    latent, _ = model.encoder(wav)
    codes = model.quantizer.encode(latent)
    assert all(len(layer.unique()) > 3 for layer in codes.transpose(0, 1))
    decoded, _ = model.decoder(model.quantizer.decode(codes))
    encoder_state = decoder_state = None
    latents, wavs = [], []
    for piece in wav.split([n * HOP for n in chunks], dim=1):
        latent_piece, encoder_state = model.encoder(piece, encoder_state)
        quantized = model.quantizer.decode(model.quantizer.encode(latent_piece))
        wav_piece, decoder_state = model.decoder(quantized, decoder_state)
        latents.append(latent_piece)
        wavs.append(wav_piece)
    streamed = torch.cat(latents, dim=2)
    # Snake only ever adds, so its values grow with depth: errors are measured against their peak.
    assert (streamed - latent).abs().max() < 1e-5 * latent.abs().max()
    assert torch.equal(model.quantizer.encode(streamed), codes)
    assert (torch.cat(wavs, dim=1) - decoded).abs().max() < 1e-5 * decoded.abs().max()


@pytest.mark.parametrize("network", [CAUSAL, CAUSAL_LSTM])
def test_causal_model_never_looks_ahead(network):
    model = make_seanet(network)
    wav = noise(1, 12 * HOP, seed=2)
    changed = wav.clone()
    changed[:, 7 * HOP :] += 0.3
    latent, other = model.encoder(wav)[0], model.encoder(changed)[0]
    torch.testing.assert_close(other[:, :, :7], latent[:, :, :7], atol=1e-6, rtol=1e-5)
    assert (other - latent)[:, :, 7].abs().max() > 1e-3
    mixed = torch.cat([latent[:, :, :7], 1 - latent[:, :, 7:]], dim=2)
    decoded, other = model.decoder(latent)[0], model.decoder(mixed)[0]
    torch.testing.assert_close(other[:, : 7 * HOP], decoded[:, : 7 * HOP], atol=1e-6, rtol=1e-5)
    assert (other - decoded)[:, 7 * HOP].abs().max() > 1e-4


@pytest.mark.parametrize("network", [TINY, CAUSAL])
@pytest.mark.parametrize("samples", [1, HOP - 1, HOP, HOP + 1, 1003])
def test_decoded_length_is_input_length(network, samples):
    model = make_seanet(network)
    tokens = model.encode(noise(samples))
    assert tokens.codes.shape == (1, 3, -(-samples // HOP))
    assert model.decode(tokens).shape == (1, samples)


@pytest.mark.parametrize("network", [TINY, CAUSAL, CAUSAL_LSTM])
def test_batch_with_lengths_equals_single_clips(network):
    model = make_seanet(network)
    lengths = [1003, 1, 410]
    wav = noise(3, 1003, seed=3)
    batch = model.encode(wav, lengths=torch.tensor(lengths))
    decoded = model.decode(batch)
    for row, (clip, samples) in enumerate(zip(wav, lengths, strict=True)):
        single = model.encode(clip[:samples])
        frames = -(-samples // HOP)
        assert torch.equal(batch.codes[row, :, :frames], single.codes[0])
        torch.testing.assert_close(decoded[row, :samples], model.decode(single)[0], atol=1e-5, rtol=1e-5)
        assert (decoded[row, samples:] == 0).all()


def test_non_causal_clip_is_encoded_without_padding():
    model = make_seanet(TINY)
    wav = noise(1, 10 * HOP + 3, seed=4)
    latent, _ = model.encoder(wav)
    padded, _ = model.encoder(torch.nn.functional.pad(wav, (0, HOP - 3)))
    expected, other = model.quantizer.encode(latent), model.quantizer.encode(padded)
    assert not torch.equal(expected, other)
    assert torch.equal(model.encode(wav).codes, expected)


def test_causal_codec_chunks_whole_files(monkeypatch):
    model = make_seanet(CAUSAL_LSTM)
    wav = noise(2, 20 * HOP + 7, seed=5)
    tokens = model.encode(wav)
    decoded = model.decode(tokens)
    monkeypatch.setattr(chunked, "CHUNK_FRAMES", 6)
    assert torch.equal(model.encode(wav).codes, tokens.codes)
    torch.testing.assert_close(model.decode(tokens), decoded, atol=1e-5, rtol=1e-5)


def test_latency():
    assert make_seanet(TINY).latency is None
    assert make_seanet(CAUSAL).latency.samples == HOP


@pytest.mark.parametrize("network", [TINY, CAUSAL, CAUSAL_LSTM, TINY | {"activation": "snake"}])
@pytest.mark.parametrize("normed", [False, True])
def test_gradient_reaches_every_parameter(network, normed):
    model = make_seanet(network).train().requires_grad_(True)
    if normed:
        apply_weight_norm(model)
    wav = noise(2, 20 * HOP)
    decoded, _ = model.decoder(model.encoder(wav)[0])
    (decoded - wav).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def test_training_steps_lower_the_loss():
    """The released strides at an eighth of the released width, in the causal variant."""
    torch.manual_seed(0)
    config = SeanetConfig(n_filters=8, latent_dim=64, causal=True, lstm_layers=0)
    encoder, decoder = SeanetEncoder(config), SeanetDecoder(config)
    parts = nn.ModuleList([encoder, decoder])
    apply_weight_norm(parts)
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-3)
    wav = noise(1, 6_400)
    losses = []
    for _ in range(3):
        loss = (decoder(encoder(wav)[0])[0] - wav).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)


@pytest.mark.parametrize(
    ("network", "words"),
    [
        ({"causal": True}, "lstm_layers to 0, or bidirectional to false"),
        ({"strides": []}, "strides"),
        ({"strides": [4, 0]}, "strides"),
        ({"lstm_layers": -1}, "lstm_layers is -1"),
        ({"n_filters": 3}, "compress 2 does not divide n_filters 3"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"activation": "relu"}, "elu, snake"),
        ({"filters": 2}, "n_filters"),
    ],
)
def test_bad_settings_are_named(network, words):
    with pytest.raises(CodecError, match=words) as caught:
        from_dict(CodecConfig, {"architecture": "seanet", "network": network})
    assert "\n" not in str(caught.value)


def test_config_survives_its_json():
    config = CodecConfig(architecture="seanet", network=SeanetConfig(causal=True, lstm_layers=0))
    values = {"architecture": "seanet", "network": dataclasses.asdict(config.network)}
    values["network"]["strides"] = list(values["network"]["strides"])
    assert from_dict(CodecConfig, values) == config
    assert config.network.hop_length == 320
