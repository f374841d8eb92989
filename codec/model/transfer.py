"""Weights of one model for another that begins with the same tokens and audio, and perhaps has more than it."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from codec.model.codec import Codec
from codec.model.config import CodecConfig
from codec.model.fingerprint import token_settings
from codec.model.spectral.bands import resample_bands
from codec.model.spectral.blocks import ConvNeXtBlock
from codec.model.spectral.config import SpectralConfig
from codec.model.spectral.decoder import SpectralDecoder
from codec.model.spectral.encoder import SpectralEncoder
from codec.model.spectral.noise import PARTS
from codec.quantizers.base import QuantizerConfig
from codec.quantizers.kmeans import kmeans
from codec.quantizers.rvq import ResidualConfig
from codec.quantizers.split import SplitConfig

_READ_LATENT = ("quantizer.first.input.weight", "quantizer.rest.input.weight", "decoder.backbone.embed.weight")
"""Matrices with a column for each dimension of the latent."""
_READ_SOUND = "encoder.backbone.embed.weight"
"""The matrix whose last columns are for the levels of bands."""


def fitting_weights(source: Codec, target: Codec) -> dict[str, Tensor] | None:
    """The tensors of ``source`` in the shapes of ``target``, for its ``load_state_dict``.

    Rows that ``target`` has beyond those of ``source``, and tensors that only it has, keep their values, as those
    of noise that is drawn in a decoder. Blocks that only ``target`` has pass their input on unchanged, so that a
    deeper network of ``spectral`` begins with the tokens and the audio of ``source`` (as in Net2Net, Chen et al.
    2016), also where these blocks look ahead. If its encoder is given levels of bands, it does not look at them at
    first. If its decoder has more bands, their gains and levels are interpolated. If its first codebook is apart
    from the others, which quantize the rest (``split_rvq`` with ``residual``), and that of ``source`` is not, the
    projections of both sides begin as the identity.

    Codebooks may be of other sizes (:func:`fitting_codebooks`), and their search may have other beams; the tokens are
    then new from the start.

    Returns:
        ``None`` when encoder or quantizer have other settings, or a tensor of ``source`` has no place.
    """
    splits = _splits(source, target)
    widens = _widens(source, target)
    resizes = resizes_codebooks(source.config.quantizer, target.config.quantizer)
    levels = adds_levels(source.config, target.config)
    grows = _grows(source, target)
    settings = [_settings_to_match(model, splits, widens, resizes, levels, grows) for model in (source, target)]
    if settings[0] != settings[1]:
        return None
    # With plain weights, as a file has them: those of a SEANet in training are in the weight-norm form.
    plain = Codec(target.config)
    plain.load_state_dict(target.state_dict())
    weights = _with_bands_of(target, source)
    if splits:
        weights = _split(weights)
    elif resizes:
        weights |= fitting_codebooks(weights, source.config.quantizer, target.config.quantizer)
    for name, module in plain.named_modules():
        new = isinstance(module, ConvNeXtBlock) and f"{name}.scale" not in weights
        # A way of its own to a new part of the latent changes nothing at first, whatever it computes.
        if new and not (widens and name.startswith("encoder.semantic.")):
            module.pass_on()
    merged: dict[str, Tensor] = plain.state_dict()
    for name, tensor in _padded(weights, merged).items():
        own = merged.get(name)
        if own is None or own.shape[1:] != tensor.shape[1:] or len(own) < len(tensor):
            return None
        merged[name] = torch.cat([tensor, own[len(tensor) :]])
    return merged


def same_settings(source: Codec, target: Codec) -> bool:
    """Whether encoder and quantizer are set alike, also where tensors do not show it, as of ``look_ahead``.

    The search, sizes of codebooks and levels that only ``target`` is given may differ.
    """
    resizes = resizes_codebooks(source.config.quantizer, target.config.quantizer)
    levels = adds_levels(source.config, target.config)
    old, new = (_settings_to_match(model, False, False, resizes, levels, False) for model in (source, target))
    return old == new


def resizes_codebooks(old: QuantizerConfig, new: QuantizerConfig) -> bool:
    """Whether two residual quantizers differ in the sizes of their codebooks, and not in their number."""
    if not (isinstance(old, ResidualConfig) and isinstance(new, ResidualConfig)):
        return False
    return old.type == new.type and len(old.layer_sizes) == len(new.layer_sizes) and old.layer_sizes != new.layer_sizes


def adds_levels(old: CodecConfig, new: CodecConfig) -> bool:
    """Whether the encoder of a model of ``spectral`` is given levels of bands, which that of another is not."""
    if not (isinstance(old.network, SpectralConfig) and isinstance(new.network, SpectralConfig)):
        return False
    return not old.network.level_bands and new.network.level_bands > 0


def fitting_codebooks(
    weights: Mapping[str, Tensor], old: QuantizerConfig, new: QuantizerConfig, prefix: str = ""
) -> dict[str, Tensor]:
    """The codebooks among ``weights``, by name, for a quantizer of other sizes.

    A larger codebook has every entry several times, moved at random by up to half of the way to its nearest
    neighbour, as in the design of Linde, Buzo and Gray (1980); a smaller one has the means of its entries' clusters.
    Training then moves them to where the latents are.

    Args:
        weights: tensors of a model, or of a checkpoint's generator.
        old: the quantizer that they are of.
        new: the quantizer that they are for.
        prefix: what the names of the model's tensors begin with.
    """
    sides = {"first.rvq.": slice(1), "rest.rvq.": slice(1, None)} if isinstance(new, SplitConfig) else {"": slice(None)}
    fitting = {}
    for side, layers in sides.items():
        name = f"{prefix}quantizer.{side}codebooks"
        before, after = old.layer_sizes[layers], new.layer_sizes[layers]
        entries = [codebook[:size] for codebook, size in zip(weights[name], before, strict=True)]
        resized = [_resized(codebook, size) for codebook, size in zip(entries, after, strict=True)]
        fitting[name] = torch.stack([F.pad(codebook, (0, 0, 0, max(after) - len(codebook))) for codebook in resized])
    return fitting


def _resized(codebook: Tensor, size: int) -> Tensor:
    """``codebook (C, D)`` with another number of entries, ``(size, D)``."""
    generator = torch.Generator().manual_seed(0)
    if size < len(codebook):
        return kmeans(codebook, size, iterations=10, generator=generator)
    times = -(-size // len(codebook))
    apart = torch.cdist(codebook, codebook).fill_diagonal_(torch.inf).amin(dim=1).nan_to_num(posinf=0.0)
    moves = F.normalize(torch.randn(times - 1, *codebook.shape, generator=generator), dim=2)
    moves = moves * torch.rand(times - 1, len(codebook), 1, generator=generator)
    # The entries themselves come first.
    copies = codebook + moves * (0.5 * apart).view(1, -1, 1)
    return torch.cat([codebook, copies.flatten(0, 1)])[:size]


def seeing_levels(weights: Mapping[str, Tensor], into: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """The matrix among ``weights``, by name, that reads what the encoder sees, with zeros for levels that ``into`` has.

    Args:
        weights: tensors of a checkpoint's generator.
        into: those of the generator that they are for.
        prefix: what the names of the model's tensors begin with.
    """
    name = prefix + _READ_SOUND
    more = into[name].shape[1] - weights[name].shape[1] if name in weights and name in into else 0
    return {name: F.pad(weights[name], (0, more))} if more > 0 else {}


def _padded(weights: dict[str, Tensor], into: dict[str, Tensor]) -> dict[str, Tensor]:
    """``weights``, with zeros for what only ``into`` has, dimensions of the latent and levels, where these are read."""
    wider = {name: into[name].shape[1] for name in _READ_LATENT if name in weights and name in into}
    more = {name: width - weights[name].shape[1] for name, width in wider.items()}
    latent = {name: F.pad(weights[name], (0, count)) for name, count in more.items() if count > 0}
    return weights | latent | seeing_levels(weights, into)


def _with_bands_of(target: Codec, source: Codec) -> dict[str, Tensor]:
    """The tensors of ``source``, where a decoder of ``spectral`` gives loudness at the bands of ``target``.

    A decoder with fewer bands gets them as they are, which do not fit it.
    """
    weights = source.state_dict()
    old, new = source.decoder, target.decoder
    if not (isinstance(old, SpectralDecoder) and isinstance(new, SpectralDecoder)) or old.sizes == new.sizes:
        return weights
    if any(before > after for before, after in zip(old.sizes, new.sizes, strict=True)):
        return weights
    for name in ("decoder.backbone.out.weight", "decoder.backbone.out.bias"):
        real, imag, gains, levels = weights[name].split(old.sizes)
        gains = resample_bands(gains, new.sizes[2])
        if new.sizes[3] and old.sizes[3]:
            parts = levels.unflatten(0, (PARTS, -1)).unbind()
            levels = torch.cat([resample_bands(part, new.sizes[3] // PARTS) for part in parts])
        weights[name] = torch.cat([real, imag, gains, levels])
    return weights


def _splits(source: Codec, target: Codec) -> bool:
    """Whether the codebooks of ``source``, which have no projections, become the two sides of ``target``."""
    old, new = source.config.quantizer, target.config.quantizer
    return (
        isinstance(old, ResidualConfig)
        and isinstance(new, SplitConfig)
        and not isinstance(old, SplitConfig)
        and new.residual
        and not (old.dim or new.dim)
        and (old.layer_sizes, old.normalise) == (new.layer_sizes, new.normalise)
    )


def _split(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Codebooks in a row as those of two sides that pass on the latent as it is."""
    codebooks = weights.pop("quantizer.codebooks")
    for side, own in (("first", codebooks[:1]), ("rest", codebooks[1:])):
        weights[f"quantizer.{side}.rvq.codebooks"] = own
        for place in ("input", "output"):
            weights[f"quantizer.{side}.{place}.weight"] = torch.eye(codebooks.shape[2])
    return weights


def _widens(source: Codec, target: Codec) -> bool:
    """Whether ``target`` has a wider latent, of which two sides with projections make codebooks as wide as before."""
    old, new = source.config, target.config
    if not (isinstance(old.network, SpectralConfig) and isinstance(new.network, SpectralConfig)):
        return False
    if not (isinstance(old.quantizer, SplitConfig) and isinstance(new.quantizer, SplitConfig)):
        return False
    widths = [config.quantizer.dim or config.network.latent_dim for config in (old, new)]
    return old.network.latent_dim < new.network.latent_dim and widths[0] == widths[1]


def _grows(source: Codec, target: Codec) -> bool:
    """Whether the encoder of ``target`` begins with the blocks of ``source``, which look ahead as they did."""
    encoders = [model.encoder for model in (source, target) if isinstance(model.encoder, SpectralEncoder)]
    if len(encoders) < 2:
        return False
    old, new = ([block.looks_ahead for block in encoder.backbone.blocks] for encoder in encoders)
    # A semantic part that the source has is taken over whole; a new one may look ahead.
    meant, means = ([block.looks_ahead for block in _semantic_blocks(encoder)] for encoder in encoders)
    return new[: len(old)] == old and meant in ([], means)


def _semantic_blocks(encoder: SpectralEncoder) -> Iterable[Any]:
    return [] if encoder.semantic is None else encoder.semantic.blocks


def _settings_to_match(
    model: Codec, splits: bool, widens: bool, resizes: bool, levels: bool, grows: bool
) -> dict[str, Any]:
    settings = token_settings(model)
    if grows:
        for name in ("encoder_layers", "look_ahead"):
            settings["network"].pop(name, None)
    if levels:
        settings["network"].pop("level_bands", None)
    # Another search finds other codes of the same codebooks.
    settings["quantizer"].pop("beams", None)
    if widens:
        for name in ("latent_dim", "semantic_layers", "semantic_from", "semantic_dim"):
            settings["network"].pop(name, None)
        settings["quantizer"].pop("dim", None)
    if resizes:
        for name in ("sizes", "codebook_size"):
            settings["quantizer"].pop(name, None)
    if splits:
        settings.pop("quantizer")
    return settings
