"""SpeechTokenizer (Zhang et al. 2023) and DM-Codec (Ahasan et al. 2024), which share their network.

Their layers have the names of our ``seanet``, so ``encoder.*`` and ``decoder.*`` stay what they are. Files are
bare state dicts (``SpeechTokenizer.pt``) or packages of the trainer, with the network under ``generator``.
"""

import re
from typing import Any

from codec.config import from_dict
from codec.importing.checkpoint import CONFIG, Checkpoint
from codec.importing.imported import KINDS, Translation
from codec.importing.seanet import codebook_sizes, seanet_plan, seanet_settings
from codec.importing.settings import check_settings, sample_rate
from codec.model.config import CodecConfig
from codec.model.seanet import SeanetConfig
from codec.quantizers.rvq import ResidualConfig

_QUANTIZER = "quantizer.vq.layers.{}"
_CODEBOOK = f"{_QUANTIZER}._codebook.embed"
_STATISTICS = re.compile(r"quantizer\.vq\.layers\.\d+\._codebook\.(inited|cluster_size|embed_avg)")
_SEMANTIC = ("transform.weight", "transform.bias")
"""The projection that is compared with a teacher in training."""
_RATE = 16_000


class SpeechTokenizer:
    """Checkpoints of both projects."""

    def __init__(self, title: str):
        self.title = title

    def recognizes(self, checkpoint: Checkpoint) -> bool:
        """Whether it has the names of EnCodec's code, on which both build, and what EnCodec lacks."""
        return is_original(checkpoint) and is_speechtokenizer(checkpoint)

    def translate(self, checkpoint: Checkpoint) -> Translation:
        """The same network with plain weights, without what only training needs."""
        network = seanet_settings(checkpoint, _same)
        network["dilation_base"] = checkpoint.config.get("dilation_base", 2)
        count, size = codebook_sizes(checkpoint, _CODEBOOK)
        check_settings(checkpoint, _in_their_words(network) | {"n_q": count, "codebook_size": size})
        settings = from_dict(SeanetConfig, network, str(checkpoint.path.parent / CONFIG))
        rate, notes = sample_rate(checkpoint, _RATE, settings.hop_length, ("sample_rate", "sampling_rate"))
        width = checkpoint.shape(_CODEBOOK.format(0))[1]
        projected = f"{_QUANTIZER.format(0)}.project_in.weight" in checkpoint.tensors
        quantizer = ResidualConfig(count, size, dim=width if projected else 0)
        config = CodecConfig("seanet", rate, quantizer, settings)
        plan = dict(seanet_plan(config, _same, _CODEBOOK))
        if projected:
            plan |= _projections(count)
        unused = frozenset(
            name for name in checkpoint.tensors if name in _SEMANTIC or _STATISTICS.fullmatch(name)
        )
        return Translation(config, plan, unused, tuple(notes))


def is_original(checkpoint: Checkpoint) -> bool:
    """Whether tensors have the names of EnCodec's own code."""
    return {_CODEBOOK.format(0), "encoder.model.0.conv.conv.weight"} <= checkpoint.tensors.keys()


def is_speechtokenizer(checkpoint: Checkpoint) -> bool:
    """Whether there is a projection to a teacher or a backward LSTM, or a config that knows of one."""
    own = any(name in _SEMANTIC or name.endswith("_reverse") for name in checkpoint.tensors)
    return own or "semantic_dimension" in checkpoint.config


def _same(name: str) -> str:
    return name


def _in_their_words(network: dict[str, Any]) -> dict[str, Any]:
    same = (
        *("n_filters", "strides", "lstm_layers", "bidirectional"),
        *("residual_kernel_size", "n_residual_layers", "activation"),
    )
    return {name: network[name] for name in same} | {"dimension": network["latent_dim"]}


def _projections(count: int) -> dict[str, str]:
    return {
        f"quantizer.{ours}.{k}.{kind}": f"{_QUANTIZER.format(k)}.{theirs}.{kind}"
        for k in range(count)
        for ours, theirs in (("inputs", "project_in"), ("outputs", "project_out"))
        for kind in ("weight", "bias")
    }


KINDS.register("speechtokenizer")(SpeechTokenizer("SpeechTokenizer"))
KINDS.register("dm-codec")(SpeechTokenizer("DM-Codec"))
