"""Mimi (Défossez et al. 2024): a folder of transformers, whose names are those of the published files."""

import re
from typing import Any

import torch

from codec.config import from_dict
from codec.errors import CodecError
from codec.importing.checkpoint import CONFIG, Checkpoint
from codec.importing.imported import KINDS, Translation
from codec.importing.seanet import codebook_sizes, seanet_settings
from codec.importing.settings import check_settings, sample_rate
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.model.mimi import MimiConfig
from codec.quantizers.split import SplitConfig

_RATE = 24_000
_SIDES = {
    "first": "quantizer.semantic_residual_vector_quantizer",
    "rest": "quantizer.acoustic_residual_vector_quantizer",
}
_CODEBOOK = "{}.layers.{{}}.codebook.embed"
_STATISTICS = re.compile(r"quantizer\..*\.codebook\.(initialized|cluster_usage|embed_sum)")
_LAYER = {
    "attention_norm": "input_layernorm",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "output": "self_attn.o_proj",
    "attention_scale": "self_attn_layer_scale.scale",
    "feedforward_norm": "post_attention_layernorm",
    "expand": "mlp.fc1",
    "contract": "mlp.fc2",
    "feedforward_scale": "mlp_layer_scale.scale",
}
"""Our names within a layer of a transformer, and theirs."""
_EPSILON = 1e-5
"""Least count that a codebook's sums are divided by."""


class Mimi:
    """Checkpoints of Mimi."""

    title = "Mimi"

    def recognizes(self, checkpoint: Checkpoint) -> bool:
        """Whether there are a transformer and a semantic quantizer."""
        wanted = {"encoder.layers.0.conv.weight", "encoder_transformer.layers.0.mlp.fc1.weight"}
        return wanted <= checkpoint.tensors.keys() and any(
            name.startswith(_SIDES["first"]) for name in checkpoint.tensors
        )

    def translate(self, checkpoint: Checkpoint) -> Translation:
        """The same network, with the codebooks that the running sums make."""
        _check_supported(checkpoint)
        _make_codebooks(checkpoint)
        network = _network(checkpoint)
        first, rest = (codebook_sizes(checkpoint, _CODEBOOK.format(side)) for side in _SIDES.values())
        if first[0] != 1:
            raise CodecError(f"{checkpoint.path}: a Mimi of {first[0]} semantic codebooks is not supported, only of 1")
        sizes = (first[1], *[rest[1]] * rest[0])
        width = checkpoint.shape(_CODEBOOK.format(_SIDES["first"]).format(0))[1]
        check_settings(checkpoint, _in_their_words(network) | {"codebook_size": first[1]})
        settings = from_dict(MimiConfig, network, str(checkpoint.path.parent / CONFIG))
        rate, notes = sample_rate(checkpoint, _RATE, settings.hop_length, ("sampling_rate",))
        config = CodecConfig("mimi", rate, SplitConfig(sizes=sizes, dim=width), settings)
        unused = frozenset(name for name in checkpoint.tensors if _STATISTICS.fullmatch(name))
        return Translation(config, _plan(config), unused, tuple(notes))


def _check_supported(checkpoint: Checkpoint) -> None:
    """Raise a :class:`CodecError` for variants that no published file has."""
    config = checkpoint.config
    expected = {
        "use_causal_conv": True,
        "pad_mode": "constant",
        "trim_right_ratio": 1.0,
        "audio_channels": 1,
        "hidden_act": "gelu",
        "attention_bias": False,
        "num_key_value_heads": config.get("num_attention_heads", 8),
    }
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise CodecError(f"{checkpoint.path}: a Mimi with {name} {config[name]!r} is not supported, only {value!r}")
    rope = config.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        raise CodecError(f"{checkpoint.path}: a Mimi with rope_type {rope['rope_type']!r} is not supported")


def _make_codebooks(checkpoint: Checkpoint) -> None:
    """Add ``embed``, the mean that each codebook's running sum and count make."""
    for name in [name for name in checkpoint.tensors if name.endswith(".codebook.embed_sum")]:
        usage = checkpoint.tensors.get(name.replace("embed_sum", "cluster_usage"))
        total = checkpoint.tensors[name]
        if usage is not None and usage.shape == total.shape[:1]:
            checkpoint.tensors[name.replace("embed_sum", "embed")] = total / usage.clamp(min=_EPSILON)[:, None]


def _network(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    network = seanet_settings(checkpoint, _seanet_name)
    for name in ("lstm_layers", "bidirectional", "activation"):
        del network[name]
    dim = network["latent_dim"]
    inside, _ = checkpoint.shape("encoder_transformer.layers.0.self_attn.q_proj.weight")
    head_dim = config.get("head_dim") or dim // config.get("num_attention_heads", 8)
    rope = config.get("rope_parameters") or config
    return network | {
        "dilation_base": config.get("dilation_growth_rate", 2),
        "token_stride": checkpoint.shape("downsample.conv.weight")[2] // 2,
        "layers": len(checkpoint.layers(r"encoder_transformer\.layers\.(\d+)\.")),
        "heads": inside // head_dim,
        "head_dim": head_dim,
        "feedforward_dim": checkpoint.shape("encoder_transformer.layers.0.mlp.fc1.weight")[0],
        "window": config.get("sliding_window", 250),
        "rope_theta": float(rope.get("rope_theta", 10_000.0)),
        "norm_eps": config.get("norm_eps", 1e-5),
    }


def _in_their_words(network: dict[str, Any]) -> dict[str, Any]:
    return {
        "num_filters": network["n_filters"],
        "upsampling_ratios": network["strides"],
        "hidden_size": network["latent_dim"],
        "num_residual_layers": network["n_residual_layers"],
        "num_hidden_layers": network["layers"],
        "num_attention_heads": network["heads"],
        "intermediate_size": network["feedforward_dim"],
        "use_conv_shortcut": network["shortcut"] == "convolution",
        **{name: network[name] for name in ("kernel_size", "last_kernel_size", "residual_kernel_size", "compress")},
    }


def _plan(config: CodecConfig) -> dict[str, str | list[str]]:
    with torch.device("meta"):
        names = Codec(config).state_dict()
    plan: dict[str, str | list[str]] = {name: _name(name) for name in names if not name.startswith("quantizer.")}
    counts = {"first": 1, "rest": config.quantizer.num_codebooks - 1}
    for ours, theirs in _SIDES.items():
        plan[f"quantizer.{ours}.input.weight"] = f"{theirs}.input_proj.weight"
        plan[f"quantizer.{ours}.output.weight"] = f"{theirs}.output_proj.weight"
        codebook = _CODEBOOK.format(theirs)
        plan[f"quantizer.{ours}.rvq.codebooks"] = [codebook.format(k) for k in range(counts[ours])]
    return plan


def _name(ours: str) -> str:
    """Their name of a tensor of encoder or decoder."""
    part, inside, rest = ours.split(".", 2)
    if inside == "seanet":
        return _seanet_name(f"{part}.{rest}")
    if inside != "transformer":
        return f"{inside}.conv.weight"
    _, layer, name, *kind = rest.split(".")
    return ".".join([f"{part}_transformer.layers", layer, _LAYER[name], *kind])


def _seanet_name(ours: str) -> str:
    name = ours.replace(".model.", ".layers.").replace(".conv.conv.", ".conv.")
    return name.replace(".convtr.convtr.", ".conv.")


KINDS.register("mimi")(Mimi())
