"""The ``seanet`` network against the released one: names, sizes, weight norm, and EnCodec's results."""

import copy

import pytest
import torch
from seanet_models import CAUSAL, HOP, TINY, count, make_seanet, noise
from torch import nn
from transformers import EncodecConfig
from transformers.models.encodec.modeling_encodec import EncodecDecoder, EncodecEncoder

import codec
from codec.config import from_dict
from codec.model.seanet import SeanetConfig, SeanetDecoder, SeanetEncoder
from codec.model.seanet.weight_norm import apply_weight_norm, fold_weight_norm


def on_meta(config: SeanetConfig) -> tuple[nn.Module, nn.Module]:
    with torch.device("meta"):
        return SeanetEncoder(config), SeanetDecoder(config)


def legacy_shapes(module: nn.Module, prefix: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name, g and v of weight norm named as in the released files."""
    return {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tuple(tensor.shape)
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
    encoder, decoder = ({n: t.numel() for n, t in s.items() if n not in p} for s, p in zip(snake, plain, strict=True))
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
    config = from_dict(SeanetConfig, TINY | {"bidirectional": False, "causal": causal})
    reference_config = EncodecConfig(
        num_filters=2,
        upsampling_ratios=[5, 4, 2],
        hidden_size=6,
        num_residual_layers=2,
        use_causal_conv=causal,
        pad_mode="constant" if causal else "reflect",
    )
    encoder, decoder = SeanetEncoder(config), SeanetDecoder(config)
    encoder_reference, decoder_reference = EncodecEncoder(reference_config), EncodecDecoder(reference_config)
    for ours, reference in ((encoder, encoder_reference), (decoder, decoder_reference)):
        apply_weight_norm(ours)
        tensors = reference.state_dict().values()
        ours.load_state_dict(dict(zip(ours.state_dict(), tensors, strict=True)))
    frames = -(-samples // HOP)
    wav = noise(2, samples)
    if causal:
        wav = torch.nn.functional.pad(wav, (0, frames * HOP - samples))
    latent, _ = encoder(wav)
    assert latent.shape == (2, 6, frames)
    torch.testing.assert_close(latent, encoder_reference(wav.unsqueeze(1)), atol=1e-6, rtol=1e-5)
    decoded, _ = decoder(latent)
    assert decoded.shape == (2, frames * HOP)
    torch.testing.assert_close(decoded, decoder_reference(latent).squeeze(1), atol=1e-6, rtol=1e-5)


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


@pytest.mark.parametrize("normed", [False, True])
def test_weights_of_every_form_load(normed):
    """Plain, as released (``weight_g``, ``weight_v``) and in torch's parametrized form."""
    source = make_seanet(TINY).decoder
    plain = dict(source.state_dict())
    released = dict(plain)
    for name in [name for name in plain if name.endswith((".conv.conv.weight", ".convtr.convtr.weight"))]:
        weight = released.pop(name)
        # The length of v must not matter.
        released[f"{name}_v"] = 3.0 * weight
        released[f"{name}_g"] = weight.norm(dim=(1, 2), keepdim=True)
    assert len(released) > len(plain)
    parametrized = copy.deepcopy(source)
    apply_weight_norm(parametrized)
    for tensors in (plain, released, parametrized.state_dict()):
        target = SeanetDecoder(from_dict(SeanetConfig, TINY))
        if normed:
            apply_weight_norm(target)
        target.load_state_dict(tensors)
        fold_weight_norm(target)
        for name, tensor in target.state_dict().items():
            torch.testing.assert_close(tensor, plain[name], atol=1e-6, rtol=1e-5)
