"""Pre-trained encoders on disk: a folder with ``config.json`` and ``model.safetensors``."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from codec.atomic import atomic_path
from codec.config import from_dict, to_dict
from codec.errors import CodecError
from codec.model.codec import Codec
from codec.model.config import config_to_json
from codec.model.files import load_weights, pick_device
from codec.model.fingerprint import token_settings
from codec.pretraining.models.config import PatchEncoderConfig
from codec.pretraining.models.frames import FrameEncoder, FrameEncoderConfig
from codec.pretraining.models.patches import PatchEncoder

PATCHES, FRAMES = "matpac", "frames"
MODEL_TYPE = "audio_encoder"
"""``model_type`` of their ``config.json`` for the library transformers, whose own keys are of no concern here."""


def save_pretrained(encoder: PatchEncoder | FrameEncoder, folder: str | Path) -> None:
    """Write both files, each in one step; ``kind`` in ``config.json`` distinguishes them from a codec's."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(encoder, FrameEncoder):
        kind, settings = FRAMES, {"model": json.loads(config_to_json(encoder.config.model))}
    else:
        kind, settings = PATCHES, to_dict(encoder.config)
    values = {"model_type": MODEL_TYPE, "kind": kind, "encoder": settings}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in encoder.state_dict().items()}
    with atomic_path(folder / "model.safetensors") as temporary:
        temporary.write_bytes(save(tensors))
    with atomic_path(folder / "config.json") as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def kind_of(folder: str | Path) -> str | None:
    """``kind`` of a folder's ``config.json``: matpac, frames, student; ``None`` for a codec or without such a file."""
    try:
        values = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return values.get("kind") if isinstance(values, dict) else None


def load_pretrained(folder: str | Path, device: str | torch.device = "auto") -> PatchEncoder | FrameEncoder:
    """Load an encoder for inference.

    Args:
        folder: that ``codec train`` wrote, ``<output>/export``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps`` or a ``torch.device``.

    Returns:
        The encoder in eval mode, in float32.

    Raises:
        CodecError: when the folder holds no such encoder, or its files are damaged or disagree.
    """
    folder = Path(folder).expanduser()
    kind = kind_of(folder)
    if kind not in (PATCHES, FRAMES):
        raise CodecError(
            f"{folder}: no pre-trained encoder (config.json with kind: {PATCHES} or {FRAMES}); codec train --config "
            "matpac writes such folders"
        )
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # Folders of earlier versions have the settings next to the kind.
    settings = values.get("encoder", {key: value for key, value in values.items() if key != "kind"})
    encoder = build(kind, settings)
    load_weights(encoder, folder, "an encoder")
    return encoder.eval().requires_grad_(False).to(pick_device(device))


def encoder_weights(folder: str | Path, target: Codec) -> dict[str, Tensor] | None:
    """The tensors of ``target`` with a pre-trained encoder of frames in place of its own, for ``load_state_dict``.

    Returns:
        ``None`` when the encoder is that of a model with other settings.

    Raises:
        CodecError: as :func:`load_pretrained`.
    """
    encoder = load_pretrained(folder, "cpu")
    assert isinstance(encoder, FrameEncoder)
    source = Codec(dataclasses.replace(encoder.config.model, quantizer=target.config.quantizer))
    if token_settings(source) != token_settings(target):
        return None
    # With plain weights, which those of a SEANet in training are not.
    plain = Codec(target.config)
    plain.load_state_dict(target.state_dict())
    plain.encoder.load_state_dict(encoder.encoder.state_dict())
    weights: dict[str, Tensor] = plain.state_dict()
    return weights


def build(kind: str, values: dict[str, Any]) -> PatchEncoder | FrameEncoder:
    """An encoder with fresh weights, of plain settings."""
    if kind == FRAMES:
        return FrameEncoder(from_dict(FrameEncoderConfig, values, "encoder"))
    return PatchEncoder(from_dict(PatchEncoderConfig, values, "encoder"))


def num_parameters(module: nn.Module) -> int:
    """Weights of a module; fixed tensors are not counted."""
    return sum(parameter.numel() for parameter in module.parameters())
