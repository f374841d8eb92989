"""Encoders that this project trains: students, pre-trained encoders, and codecs, whose latents are embeddings too."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from codec.encoders.base import Encoder, EncoderConfig
from codec.errors import CodecError
from codec.model.files import load_model, shipped_model
from codec.pretraining.models.files import FRAMES, PATCHES, kind_of, load_pretrained
from codec.pretraining.models.frames import FrameEncoder, latents
from codec.pretraining.models.patches import PatchEncoder
from codec.pretraining.models.released import is_released, read_released
from codec.students.files import load_student

CODEC = "codec:"
"""Before the name of a shipped codec, which otherwise might be a hub id."""
_STUDENT = "student"


def is_own(model: str) -> bool:
    """Whether a model's name is a folder that this project wrote, a released MATPAC, ``codec:NAME``, or such a NAME."""
    if not model:
        return False
    if model.startswith(CODEC) or shipped_model(model) or is_released(model):
        return True
    folder = Path(model).expanduser()
    return kind_of(folder) in (PATCHES, FRAMES, _STUDENT) or _is_codec(folder)


def own_name(model: str) -> str | None:
    """The name that features of such a model have in a cache; ``None`` of a codec, which is known once it is loaded.

    Raises:
        CodecError: when its weights are missing.
    """
    folder = Path(model).expanduser()
    kind = PATCHES if is_released(model) else kind_of(folder)
    if kind is None:
        return None
    if not _weights(folder).is_file():
        raise CodecError(f"{_weights(folder)}: no such file; an encoder is config.json + model.safetensors")
    return _name(kind, _weights(folder))


def open_own(config: EncoderConfig) -> Encoder:
    """An encoder of a student, a pre-trained encoder or a codec.

    ``layer`` is the number of blocks of a patch encoder, all of them by default (or as ``last``); ``output`` of a
    codec is ``latent`` or ``quantized``.

    Raises:
        CodecError: when it cannot be loaded, or has no such layer or output.
    """
    model = config.model
    folder = Path(model).expanduser()
    kind = kind_of(folder) if shipped_model(model) is None else None
    if is_released(model):
        return _patches(read_released(model).to(config.device), config, folder)
    if kind == _STUDENT:
        return _student(_without(config, "layer", "output"), folder)
    if kind in (PATCHES, FRAMES):
        _without(config, "output", *(("layer",) if kind == FRAMES else ()))
        loaded = load_pretrained(folder, config.device)
        return _patches(loaded, config, folder) if isinstance(loaded, PatchEncoder) else _frames(loaded, folder)
    return _codec(_without(config, "layer"))


def _without(config: EncoderConfig, *keys: str) -> EncoderConfig:
    """The config, unless it sets one of ``keys``, which this kind of model does not have."""
    plain = {"layer": ("avg", "last"), "output": (None,)}
    for key in keys:
        value = getattr(config, key)
        if value not in plain[key]:
            raise CodecError(f"{config.model}: this kind of model has no choice of {key}, got {value!r}; leave it out")
    return config


def _is_codec(folder: Path) -> bool:
    try:
        values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and {"architecture", "quantizer", "network"} <= values.keys()


def _name(kind: str, weights: Path) -> str:
    """Equal for equal weights, whatever their folder is called: every run's is called ``export``."""
    with weights.open("rb") as file:
        return f"{kind}-{hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"


def _weights(folder: Path) -> Path:
    return folder if folder.is_file() else folder / "model.safetensors"


def _student(config: EncoderConfig, folder: Path) -> Encoder:
    student = load_student(folder, config.device)
    return Encoder(
        name=_name(_STUDENT, _weights(folder)),
        layer="vector",
        sample_rate=student.sample_rate,
        rate=None,
        offset=0.0,
        dim=student.dim,
        run=lambda wavs: [student.embed(wav) for wav in wavs],
    )


def _patches(encoder: PatchEncoder, config: EncoderConfig, folder: Path) -> Encoder:
    depth, blocks = None, encoder.config.shape.depth
    # avg is what all kinds of models have by default; of other models it is a mean over layers.
    if config.layer not in ("avg", "last"):
        if not isinstance(config.layer, int) or not 1 <= config.layer <= blocks:
            raise CodecError(f"{config.model}: layer {config.layer!r} is none of last, 1 to {blocks}")
        depth = config.layer
    return Encoder(
        name=_name(PATCHES, _weights(folder)),
        layer="last" if depth is None else str(depth),
        sample_rate=encoder.sample_rate,
        rate=encoder.rate,
        offset=encoder.offset,
        dim=encoder.dim,
        run=lambda wavs: encoder.frames(wavs, depth),
    )


def _frames(encoder: FrameEncoder, folder: Path) -> Encoder:
    return Encoder(
        name=_name(FRAMES, _weights(folder)),
        layer="latent",
        sample_rate=encoder.sample_rate,
        rate=encoder.rate,
        offset=encoder.offset,
        dim=encoder.dim,
        run=encoder.frames,
    )


def _codec(config: EncoderConfig) -> Encoder:
    codec = load_model(config.model.removeprefix(CODEC), config.device)
    output = config.output or "latent"
    if output not in ("latent", "quantized"):
        raise CodecError(f"{config.model}: output {output!r} is none of latent, quantized")

    @torch.no_grad()
    def quantized(latent: Tensor) -> Tensor:
        quantizer = codec.quantizer
        codes = quantizer.prepare_encode(quantizer.num_codebooks)(latent.T[None].to(codec.device))
        return quantizer.prepare_decode()(codes)[0].T.float().cpu()

    change: Callable[[Tensor], Tensor] = quantized if output == "quantized" else lambda latent: latent
    return Encoder(
        name=f"codec-{codec.fingerprint}",
        layer=output,
        sample_rate=codec.sample_rate,
        rate=codec.sample_rate / codec.hop_length,
        offset=0.5 * codec.hop_length / codec.sample_rate,
        dim=codec.config.network.latent_dim,
        run=lambda wavs: [change(latents(codec.encoder, wav, codec.hop_length)) for wav in wavs],
    )
