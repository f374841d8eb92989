"""EnCodec (Défossez et al. 2022): the original state dict, or a folder of transformers.

The 24 kHz model is causal. Its convolutions mirror the signal at both ends, which our ``seanet`` does with
``edges: mirror``. The 48 kHz model is stereo, normalises each second and sees all of it: another network.
"""

import math
import re
from typing import Any

from codec.config import from_dict
from codec.errors import CodecError
from codec.importing.checkpoint import CONFIG, Checkpoint
from codec.importing.imported import KINDS, Translation
from codec.importing.seanet import Names, codebook_sizes, seanet_plan, seanet_settings
from codec.importing.settings import check_settings, sample_rate
from codec.importing.speechtokenizer import is_original, is_speechtokenizer
from codec.model.config import CodecConfig
from codec.model.seanet import SeanetConfig
from codec.quantizers.base import bits_per_code
from codec.quantizers.rvq import ResidualConfig

_STATISTICS = re.compile(r"quantizer\..*codebook\.(inited|cluster_size|embed_avg)")
_RATE = 24_000
_EDGES = {"reflect": "mirror", "constant": "zeros", "zero": "zeros"}
"""Padding of a causal convolution, and our name for it."""


class Encodec:
    """Checkpoints of EnCodec, whose names are either of two."""

    title = "EnCodec"

    def recognizes(self, checkpoint: Checkpoint) -> bool:
        """SpeechTokenizer has the original names too, and more of them."""
        names = checkpoint.tensors.keys()
        if {"encoder.layers.0.conv.weight", "quantizer.layers.0.codebook.embed"} <= names:
            return True
        return is_original(checkpoint) and not is_speechtokenizer(checkpoint)

    def translate(self, checkpoint: Checkpoint) -> Translation:
        """The same network with plain weights, without what only training needs."""
        original = is_original(checkpoint)
        theirs = _same if original else _of_transformers
        codebook = "quantizer.vq.layers.{}._codebook.embed" if original else "quantizer.layers.{}.codebook.embed"
        _check_supported(checkpoint, theirs)
        network = seanet_settings(checkpoint, theirs)
        count, size = codebook_sizes(checkpoint, codebook)
        check_settings(checkpoint, _in_their_words(network) | {"codebook_size": size})
        settings = from_dict(
            SeanetConfig, network | _not_in_tensors(checkpoint), str(checkpoint.path.parent / CONFIG)
        )
        rate, notes = sample_rate(checkpoint, _RATE, settings.hop_length, ("sampling_rate",))
        _check_rate(checkpoint, rate, settings.hop_length, (count, size))
        config = CodecConfig("seanet", rate, ResidualConfig(count, size), settings)
        unused = frozenset(name for name in checkpoint.tensors if _STATISTICS.fullmatch(name))
        return Translation(config, seanet_plan(config, theirs, codebook), unused, tuple(notes))


def _same(name: str) -> str:
    return name


def _of_transformers(name: str) -> str:
    name = name.replace(".model.", ".layers.").replace(".conv.conv.", ".conv.")
    return name.replace(".convtr.convtr.", ".conv.")


def _check_supported(checkpoint: Checkpoint, theirs: Names) -> None:
    """Raise a :class:`CodecError` for what the 48 kHz model has."""
    config, first = checkpoint.config, checkpoint.shape(theirs("encoder.model.0.conv.conv.weight"))
    normed = [name for name in checkpoint.tensors if ".norm." in name]
    if first[1] != 1 or normed or config.get("normalize") or config.get("chunk_length_s"):
        raise CodecError(
            f"{checkpoint.path}: an EnCodec that is stereo or normalises its input, as that of 48 kHz, is not "
            "supported; take the one of 24 kHz"
        )
    if config.get("trim_right_ratio", 1) != 1:
        raise CodecError(f"{checkpoint.path}: an EnCodec with trim_right_ratio below 1 is not supported")


def _check_rate(checkpoint: Checkpoint, rate: int, hop: int, books: tuple[int, int]) -> None:
    """Tensors show no rate, but with the right one the highest bandwidth takes just the codebooks that are there.

    Args:
        books: number and size of the codebooks.

    Raises:
        CodecError: where it takes another number.
    """
    (count, size), bandwidths = books, checkpoint.config.get("target_bandwidths")
    kbps = bandwidths[-1] if isinstance(bandwidths, list) and bandwidths else None
    if not isinstance(kbps, int | float):
        return
    expected = int(1000 * kbps // (math.ceil(rate / hop) * bits_per_code(size)))
    if expected != count:
        raise CodecError(
            f"{checkpoint.path.parent / CONFIG}: {kbps:g} kbps at sampling_rate {rate} take {expected} codebooks, but "
            f"{checkpoint.path.name} has {count}; correct the config"
        )


def _not_in_tensors(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    causal, padding = config.get("use_causal_conv", True), config.get("pad_mode", "reflect")
    if str(padding) not in _EDGES or (not causal and padding != "reflect"):
        raise CodecError(f"{checkpoint.path}: an EnCodec with pad_mode {padding!r} is not supported")
    return {
        "causal": causal,
        "edges": _EDGES[padding] if causal else "silence",
        "dilation_base": config.get("dilation_growth_rate", 2),
    }


def _in_their_words(network: dict[str, Any]) -> dict[str, Any]:
    return {
        "num_filters": network["n_filters"],
        "upsampling_ratios": network["strides"],
        "hidden_size": network["latent_dim"],
        "num_residual_layers": network["n_residual_layers"],
        "num_lstm_layers": network["lstm_layers"],
        "use_conv_shortcut": network["shortcut"] == "convolution",
        **{name: network[name] for name in ("kernel_size", "last_kernel_size", "residual_kernel_size", "compress")},
    }


KINDS.register("encodec")(Encodec())
