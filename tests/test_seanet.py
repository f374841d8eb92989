"""The ``seanet`` architecture: released layout, agreement with EnCodec, causal streaming, lengths."""

import copy
import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import EncodecConfig
from transformers.models.encodec.modeling_encodec import EncodecDecoder, EncodecEncoder

import codec
from codec.config import from_dict
from codec.errors import CodecError
from codec.model import chunked
from codec.model.config import CodecConfig
from codec.model.seanet.blocks import LSTM, Snake
from codec.model.seanet.config import SeanetConfig
from codec.model.seanet.convolutions import Conv, ConvTranspose, reflect_pad
from codec.model.seanet.weight_norm import apply_weight_norm, fold_weight_norm

TINY = {"n_filters": 2, "strides": [5, 4, 2], "latent_dim": 6, "lstm_layers": 2, "n_residual_layers": 2}
CAUSAL = TINY | {"causal": True, "lstm_layers": 0}
CAUSAL_LSTM = TINY | {"causal": True, "bidirectional": False}
HOP = 40


def make_seanet(network: dict, seed: int = 0) -> codec.Codec:
    """A tiny model whose codebooks are latents of noise, so that its codes vary."""
    values = {"architecture": "seanet", "network": network}
    values["quantizer"] = {"num_codebooks": 3, "codebook_size": 16}
    torch.manual_seed(seed)
    model = codec.Codec(from_dict(CodecConfig, values)).eval().requires_grad_(False)
    residual = model.encoder(noise(1, 100 * HOP))[0][0].t()
    for layer, codebook in enumerate(model.quantizer.codebooks):
        codebook.copy_(residual[layer::6][:16])
        residual = residual - codebook[torch.cdist(residual, codebook).argmin(dim=1)]
    return model


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.5 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on_meta(config: SeanetConfig) -> tuple[nn.Module, nn.Module]:
    with torch.device("meta"):
        return config.build_encoder(), config.build_decoder()


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def legacy_shapes(module: nn.Module, prefix: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name, g and v of weight norm named as in the released files."""
    return {
        name.replace("parametrizations.weight.original0", "weight_g")
        .replace("parametrizations.weight.original1", "weight_v"): tuple(tensor.shape)
        for name, tensor in module.state_dict(prefix=prefix).items()
    }


def conv_shapes(name: str, *weight: int, bias: int | None = None) -> dict[str, tuple[int, ...]]:
    bias = weight[0] if bias is None else bias
    shapes = {"bias": (bias,), "weight_g": (weight[0], 1, 1), "weight_v": weight}
    return {f"{name}.{key}": shape for key, shape in shapes.items()}


def residual_shapes(name: str, dim: int) -> dict[str, tuple[int, ...]]:
    return {
        **conv_shapes(f"{name}.block.1.conv.conv", dim // 2, dim, 3),
        **conv_shapes(f"{name}.block.3.conv.conv", dim, dim // 2, 1),
        **conv_shapes(f"{name}.shortcut.conv.conv", dim, dim, 1),
    }


def lstm_shapes(name: str, suffixes: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for suffix in suffixes:
        for layer, width in enumerate((1024, 1024 * len(suffixes))):
            shapes[f"{name}.weight_ih_l{layer}{suffix}"] = (4096, width)
            shapes[f"{name}.weight_hh_l{layer}{suffix}"] = (4096, 1024)
            shapes[f"{name}.bias_ih_l{layer}{suffix}"] = (4096,)
            shapes[f"{name}.bias_hh_l{layer}{suffix}"] = (4096,)
    return shapes


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Encoder and decoder tensors of the released SpeechTokenizer checkpoint."""
    shapes = conv_shapes("encoder.model.0.conv.conv", 64, 1, 7)
    shapes |= lstm_shapes("encoder.model.13.lstm", ("", "_reverse"))
    shapes |= conv_shapes("encoder.model.15.conv.conv", 1024, 2048, 7)
    for index, dim, kernel in ((1, 64, 4), (4, 128, 8), (7, 256, 10), (10, 512, 16)):
        shapes |= residual_shapes(f"encoder.model.{index}", dim)
        shapes |= conv_shapes(f"encoder.model.{index + 2}.conv.conv", 2 * dim, dim, kernel)
    shapes |= conv_shapes("decoder.model.0.conv.conv", 1024, 1024, 7)
    shapes |= lstm_shapes("decoder.model.1.lstm", ("",))
    shapes |= conv_shapes("decoder.model.15.conv.conv", 1, 64, 7)
    for index, dim, kernel in ((3, 512, 16), (6, 256, 10), (9, 128, 8), (12, 64, 4)):
        shapes |= conv_shapes(f"decoder.model.{index}.convtr.convtr", 2 * dim, dim, kernel, bias=dim)
        shapes |= residual_shapes(f"decoder.model.{index + 1}", dim)
    return shapes


def test_released_tensor_names_and_shapes():
    encoder, decoder = on_meta(SeanetConfig())
    apply_weight_norm(encoder)
    apply_weight_norm(decoder)
    shapes = legacy_shapes(encoder, "encoder.") | legacy_shapes(decoder, "decoder.")
    assert len(shapes) == 132
    assert shapes == released_shapes()


def test_snake_adds_its_26_tensors():
    plain = [part.state_dict() for part in on_meta(SeanetConfig())]
    snake = [part.state_dict() for part in on_meta(SeanetConfig(activation="snake"))]
    encoder, decoder = ({n: t.numel() for n, t in s.items() if n not in p} for s, p in zip(snake, plain))
    assert len(encoder) == len(decoder) == 13
    assert all(name.endswith(".alpha") for name in (*encoder, *decoder))
    assert [encoder[f"model.{i}.block.2.alpha"] for i in (1, 4, 7, 10)] == [32, 64, 128, 256]
    assert [encoder[f"model.{i}.alpha"] for i in (2, 5, 8, 11, 14)] == [64, 128, 256, 512, 2048]
    assert [decoder[f"model.{i}.block.0.alpha"] for i in (4, 7, 10, 13)] == [512, 256, 128, 64]
    assert [decoder[f"model.{i}.alpha"] for i in (2, 5, 8, 11, 14)] == [1024, 512, 256, 128, 64]


@pytest.mark.parametrize(
    ("config", "folded", "normed"),
    [
        (SeanetConfig(), (67_700_448, 35_177_185), (67_705_856, 35_182_530)),
        (SeanetConfig(causal=True, lstm_layers=0), (18_384_608, 18_383_585), (18_390_016, 18_388_930)),
    ],
)
def test_parameter_counts(config, folded, normed):
    parts = on_meta(config)
    assert tuple(map(count, parts)) == folded
    for part in parts:
        apply_weight_norm(part)
    assert tuple(map(count, parts)) == normed


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("samples", [1, 2, 39, 40, 41, 333])
def test_agrees_with_encodec_of_transformers(causal, samples):
    """An independent SEANet, given the same weights; its causal padding is set to zeros."""
    torch.manual_seed(0)
    network = TINY | {"bidirectional": False, "causal": causal}
    config = from_dict(SeanetConfig, network)
    reference = EncodecConfig(
        num_filters=2,
        upsampling_ratios=[5, 4, 2],
        hidden_size=6,
        num_residual_layers=2,
        use_causal_conv=causal,
        pad_mode="constant" if causal else "reflect",
    )
    encoder, decoder = config.build_encoder(), config.build_decoder()
    pairs = ((encoder, EncodecEncoder(reference)), (decoder, EncodecDecoder(reference)))
    for ours, theirs in pairs:
        tensors = {
            name.replace("layers.", "model.", 1).replace("conv.", "conv.conv."): tensor
            for name, tensor in theirs.state_dict().items()
        }
        transposed = [n.split(".")[1] for n, m in theirs.named_modules() if isinstance(m, nn.ConvTranspose1d)]
        for index in transposed:
            for name in [n for n in tensors if n.startswith(f"model.{index}.")]:
                tensors[name.replace("conv.conv.", "convtr.convtr.")] = tensors.pop(name)
        ours.load_state_dict(tensors)
    frames = -(-samples // HOP)
    wav = noise(2, samples)
    padded = torch.nn.functional.pad(wav, (0, frames * HOP - samples)) if causal else wav
    with torch.no_grad():
        latent, _ = encoder(padded)
        expected = pairs[0][1](padded.unsqueeze(1))
        assert latent.shape == (2, 6, frames)
        torch.testing.assert_close(latent, expected, atol=1e-6, rtol=1e-5)
        wav = decoder(latent)[0]
        torch.testing.assert_close(wav, pairs[1][1](latent).squeeze(1), atol=1e-6, rtol=1e-5)
    assert wav.shape == (2, frames * HOP)


def test_reflection_and_its_zeros_for_short_signals():
    assert reflect_pad(torch.tensor([[[1.0, 2, 3]]]), 2, 1).tolist() == [[[3, 2, 1, 2, 3, 2]]]
    assert reflect_pad(torch.tensor([[[1.0, 2]]]), 3, 3).tolist() == [[[0, 0, 2, 1, 2, 0, 0, 2]]]


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


@given(
    kernel=st.integers(1, 9), stride=st.integers(1, 9), dilation=st.integers(1, 3), cut=st.integers(0, 5)
)
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


@given(kernel=st.integers(1, 9), stride=st.integers(1, 9), cut=st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_causal_transposed_convolution_streams_and_never_looks_ahead(kernel, stride, cut):
    layer = ConvTranspose(2, 3, max(kernel, stride), stride, causal=True).requires_grad_(False)
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
    down, up = Conv(1, 2, 2 * stride, stride), ConvTranspose(2, 1, 2 * stride, stride)
    frames, _ = down(noise(1, 1, samples))
    assert frames.shape[2] == -(-samples // stride)
    assert up(frames)[0].shape[2] == frames.shape[2] * stride


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
    torch.testing.assert_close(streamed, latent, atol=1e-5, rtol=1e-5)
    assert torch.equal(model.quantizer.encode(streamed), codes)
    torch.testing.assert_close(torch.cat(wavs, dim=1), decoded, atol=1e-5, rtol=1e-5)


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
    for row, (clip, samples) in enumerate(zip(wav, lengths)):
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


@pytest.mark.parametrize("network", [TINY, CAUSAL])
def test_weight_norm_changes_nothing_and_folds_back(network):
    model = make_seanet(network)
    normed = copy.deepcopy(model)
    apply_weight_norm(normed)
    apply_weight_norm(normed)
    assert count(normed) > count(model)
    wav = noise(1, 10 * HOP)
    latent, _ = model.encoder(wav)
    torch.testing.assert_close(normed.encoder(wav)[0], latent, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(normed.decoder(latent)[0], model.decoder(latent)[0], atol=1e-6, rtol=1e-5)
    fold_weight_norm(normed)
    assert normed.state_dict().keys() == model.state_dict().keys()
    torch.testing.assert_close(normed.encoder(wav)[0], latent, atol=1e-6, rtol=1e-5)


def test_file_of_a_model_in_training_loads_folded(tmp_path):
    model = make_seanet(TINY)
    normed = copy.deepcopy(model)
    apply_weight_norm(normed)
    codec.save(normed, tmp_path)
    loaded = codec.load(tmp_path, device="cpu")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor, atol=1e-6, rtol=1e-5)


def test_released_names_of_weight_norm_load():
    encoder = from_dict(SeanetConfig, TINY).build_encoder()
    tensors = dict(encoder.state_dict())
    for name in [name for name in tensors if name.endswith("conv.conv.weight")]:
        weight = tensors.pop(name)
        tensors[f"{name}_v"] = 3.0 * weight
        tensors[f"{name}_g"] = 2.0 * weight.norm(dim=(1, 2), keepdim=True)
    other = from_dict(SeanetConfig, TINY).build_encoder()
    other.load_state_dict(tensors)
    for name, tensor in encoder.state_dict().items():
        scale = 2.0 if name.endswith("conv.conv.weight") else 1.0
        torch.testing.assert_close(other.state_dict()[name], scale * tensor)


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


def test_one_step_at_the_width_of_a_recipe_lowers_the_loss():
    """Real strides and crop length; a quarter of the released width, without its LSTMs' cost."""
    torch.manual_seed(0)
    config = SeanetConfig(n_filters=8, latent_dim=64, causal=True, lstm_layers=0)
    encoder, decoder = config.build_encoder(), config.build_decoder()
    parts = nn.ModuleList([encoder, decoder])
    apply_weight_norm(parts)
    optimizer = torch.optim.Adam(parts.parameters(), lr=1e-3)
    wav = noise(2, 9_600)
    losses = []
    for _ in range(4):
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
