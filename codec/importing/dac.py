"""DAC (Kumar et al. 2023) of 16, 24 and 44.1 kHz: the original file, or a folder of transformers.

The original file has its settings in itself. Its layers have positions for names, those of transformers words.
"""

import re
from typing import Any

import torch

from codec.config import from_dict
from codec.importing.checkpoint import CONFIG, Checkpoint
from codec.importing.imported import KINDS, Translation
from codec.importing.seanet import codebook_sizes
from codec.importing.settings import check_settings, sample_rate
from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.model.dac import DacConfig
from codec.quantizers.rvq import ResidualConfig

_QUANTIZER = "quantizer.quantizers.{}"
_CODEBOOK = f"{_QUANTIZER}.codebook.weight"
_RATES = {9: 44_100, 12: 16_000, 32: 24_000}
"""Hz of the published models by their codebooks."""
_UNIT = ("snake1", "conv1", "snake2", "conv2")
_STAGES = {
    "encoder": ("res_unit1", "res_unit2", "res_unit3", "snake1", "conv1"),
    "decoder": ("snake1", "conv_t1", "res_unit1", "res_unit2", "res_unit3"),
}
"""Names of transformers for the layers of a residual unit, and of a stage."""


class Dac:
    """Checkpoints of DAC, whose names are either of two."""

    title = "DAC"

    def recognizes(self, checkpoint: Checkpoint) -> bool:
        """Whether there are Snake activations and factorized codebooks."""
        names = checkpoint.tensors.keys()
        in_words = "encoder.block.0.res_unit1.snake1.alpha" in names
        return _CODEBOOK.format(0) in names and (in_words or "encoder.block.1.block.0.block.0.alpha" in names)

    def translate(self, checkpoint: Checkpoint) -> Translation:
        """The same network with plain weights."""
        in_words = "encoder.conv1.weight" in checkpoint.tensors
        count, size = codebook_sizes(checkpoint, _CODEBOOK)
        network = _network(checkpoint, in_words)
        settings = from_dict(DacConfig, network, str(checkpoint.path.parent / CONFIG))
        said = {"codebook_size": size, "n_codebooks": count, "codebook_dim": checkpoint.shape(_CODEBOOK.format(0))[1]}
        check_settings(checkpoint, said | (_in_their_words(settings) if in_words else _in_original_words(settings)))
        assumed = _RATES.get(count, 44_100)
        rate, notes = sample_rate(checkpoint, assumed, settings.hop_length, ("sampling_rate", "sample_rate"))
        quantizer = ResidualConfig(count, size, dim=said["codebook_dim"], normalise=True)
        config = CodecConfig("dac", rate, quantizer, settings)
        return Translation(config, _plan(config, in_words), frozenset(), tuple(notes))


def _network(checkpoint: Checkpoint, in_words: bool) -> dict[str, Any]:
    def shape(name: str) -> tuple[int, ...]:
        return checkpoint.shape(_name(name, in_words, count))

    count = len(checkpoint.layers(r"encoder\.block\.(\d+)\.(?:res_unit1|block\.0)\."))
    return {
        "encoder_dim": shape("encoder.first.weight")[0],
        "strides": tuple(shape(f"encoder.stages.{stage}.4.weight")[2] // 2 for stage in range(count)),
        "latent_dim": shape("encoder.last.1.weight")[0],
        "decoder_dim": shape("decoder.first.weight")[0],
    }


def _in_their_words(settings: DacConfig) -> dict[str, Any]:
    return {
        "encoder_hidden_size": settings.encoder_dim,
        "downsampling_ratios": settings.strides,
        "upsampling_ratios": settings.strides[::-1],
        "hidden_size": settings.latent_dim,
        "decoder_hidden_size": settings.decoder_dim,
        "hop_length": settings.hop_length,
    }


def _in_original_words(settings: DacConfig) -> dict[str, Any]:
    return {
        "encoder_dim": settings.encoder_dim,
        "encoder_rates": settings.strides,
        "decoder_rates": settings.strides[::-1],
        "latent_dim": settings.latent_dim,
        "decoder_dim": settings.decoder_dim,
    }


def _plan(config: CodecConfig, in_words: bool) -> dict[str, str | list[str]]:
    with torch.device("meta"):
        names = Codec(config).state_dict()
    stages, layers = len(config.network.strides), range(config.quantizer.num_codebooks)
    plan: dict[str, str | list[str]] = {"quantizer.codebooks": [_CODEBOOK.format(k) for k in layers]}
    for name in names:
        if match := re.fullmatch(r"quantizer\.(in|out)puts\.(\d+)\.(.*)", name):
            plan[name] = f"{_QUANTIZER.format(match[2])}.{match[1]}_proj.{match[3]}"
        elif name not in plan:
            plan[name] = _name(name, in_words, stages)
    return plan


def _name(ours: str, in_words: bool, stages: int) -> str:
    """Their name of a tensor of encoder or decoder, of so many stages."""
    part, where, *rest = ours.split(".")
    if in_words:
        return ".".join([part, *_words(part, where, rest)])
    sequence = f"{part}.{'block' if part == 'encoder' else 'model'}"
    if where == "first":
        return ".".join([sequence, "0", *rest])
    if where == "last":
        return ".".join([sequence, str(stages + 1 + int(rest[0])), *rest[1:]])
    stage, inside = int(rest[0]) + 1, ".".join(rest[1:]).replace("layers.", "block.")
    return f"{sequence}.{stage}.block.{inside}"


def _words(part: str, where: str, rest: list[str]) -> list[str]:
    """The names of transformers behind ``encoder`` or ``decoder``."""
    if where == "first":
        return ["conv1", *rest]
    if where == "last":
        return [("snake1", "conv2")[int(rest[0])], *rest[1:]]
    stage, layer, *inside = rest
    words = ["block", stage, _STAGES[part][int(layer)]]
    if inside[0] == "layers":
        return [*words, _UNIT[int(inside[1])], *inside[2:]]
    return [*words, *inside]


KINDS.register("dac")(Dac())
