"""The SEANet of a checkpoint: its settings by its tensors, and where each tensor belongs.

Layers have their positions in a sequence for names (``encoder.model.7.shortcut.conv.conv.weight``): our
``seanet`` has those of the original code, and each kind says how its own names differ.
"""

import re
from collections.abc import Callable
from typing import Any

import torch

from codec.errors import CodecError
from codec.importing.checkpoint import Checkpoint
from codec.importing.imported import Plan
from codec.model.codec import Codec
from codec.model.config import CodecConfig

Names = Callable[[str], str]
"""Our name of a tensor to that in the checkpoint."""

_LONGEST = 100
"""Layers of a sequence, at most."""


def seanet_settings(checkpoint: Checkpoint, theirs: Names) -> dict[str, Any]:
    """Settings of the network that the tensors show: all but causality, padding and dilation.

    Raises:
        CodecError: when a tensor is missing that decides the structure, or it is no SEANet.
    """

    def shape(name: str) -> tuple[int, ...]:
        return checkpoint.shape(theirs(f"encoder.model.{name}"))

    def has(name: str) -> bool:
        return theirs(f"encoder.model.{name}") in checkpoint.tensors

    blocks = [index for index in range(_LONGEST) if has(f"{index}.block.3.conv.conv.weight")]
    # They stand together, stage by stage, with an activation and a strided convolution between.
    starts = [index for index in blocks if index - 1 not in blocks]
    if not starts:
        raise CodecError(f"{checkpoint.path}: no residual blocks among its tensors; it is no SEANet")
    residual = next(count for count in range(1, _LONGEST) if starts[0] + count not in blocks)
    strides = [shape(f"{start + residual + 1}.conv.conv.weight")[2] // 2 for start in starts]
    after = starts[-1] + residual + 2
    layers = [layer for layer in range(_LONGEST) if has(f"{after}.lstm.weight_ih_l{layer}")]
    bidirectional = has(f"{after}.lstm.weight_ih_l0_reverse")
    last = after + 1 + bool(layers)
    inside = shape(f"{starts[0]}.block.1.conv.conv.weight")
    return {
        "n_filters": shape("0.conv.conv.weight")[0],
        "kernel_size": shape("0.conv.conv.weight")[2],
        "strides": tuple(reversed(strides)),
        "latent_dim": shape(f"{last}.conv.conv.weight")[0],
        "last_kernel_size": shape(f"{last}.conv.conv.weight")[2],
        "residual_kernel_size": inside[2],
        "n_residual_layers": residual,
        "compress": inside[1] // inside[0],
        "lstm_layers": len(layers),
        "bidirectional": bidirectional,
        "shortcut": "convolution" if has(f"{starts[0]}.shortcut.conv.conv.weight") else "identity",
        "activation": "snake" if has(f"{starts[0]}.block.0.alpha") else "elu",
    }


def seanet_plan(config: CodecConfig, theirs: Names, codebook: str) -> Plan:
    """Where the tensors of the encoder, decoder and a plain residual quantizer are.

    Args:
        codebook: name of a codebook with ``{}`` for its layer.
    """
    with torch.device("meta"):
        names = Codec(config).state_dict()
    plan: dict[str, str | list[str]] = {name: theirs(name) for name in names if not name.startswith("quantizer.")}
    return plan | {"quantizer.codebooks": [codebook.format(k) for k in range(config.quantizer.num_codebooks)]}


def codebook_sizes(checkpoint: Checkpoint, codebook: str) -> tuple[int, int]:
    """How many codebooks there are, and their entries."""
    layers = checkpoint.layers(re.escape(codebook.partition("{}")[0]) + r"(\d+)\.")
    return len(layers), checkpoint.shape(codebook.format(0))[0]
