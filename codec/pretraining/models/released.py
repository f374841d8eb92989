"""The released MATPAC and MATPAC++ encoders as ours: a table of their tensors' names.

The names are those of a state dict: a patch convolution, a summary token, positions with a row of zeros for it, and
blocks of the layout that vision transformers of timm have. Only encoders are read; a classifier's layers are left out.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from codec.errors import CodecError
from codec.pretraining.models.config import LogMelConfig, PatchEncoderConfig
from codec.pretraining.models.patches import PatchEncoder

_FIXED = {
    "patch_embed.proj.weight": "patch.weight",
    "patch_embed.proj.bias": "patch.bias",
    "cls_token": "cls",
    "pos_embed": "positions",
    "student_encoder.norm.weight": "transformer.norm.weight",
    "student_encoder.norm.bias": "transformer.norm.bias",
}
_IN_BLOCK = {
    "norm1": "norm1",
    "attn.qkv": "qkv",
    "attn.proj": "proj",
    "norm2": "norm2",
    "mlp.fc1": "fc1",
    "mlp.fc2": "fc2",
}
_HEAD_DIM = 64
"""Channels of an attention head of every released encoder; no tensor's shape shows them."""


def key_table(depth: int) -> dict[str, str]:
    """Our name of each released tensor of an encoder of ``depth`` blocks."""
    table = dict(_FIXED)
    for block in range(depth):
        for theirs, ours in _IN_BLOCK.items():
            for part in ("weight", "bias"):
                table[f"student_encoder.blocks.{block}.{theirs}.{part}"] = f"transformer.blocks.{block}.{ours}.{part}"
    return table


def is_released(path: str | Path) -> bool:
    """Whether a path names a file of weights, not a folder of ours."""
    return Path(path).suffix in (".pt", ".safetensors")


def read_released(path: str | Path) -> PatchEncoder:
    """An encoder from a file ``.pt`` or ``.safetensors`` of released weights; no code in it is run.

    Raises:
        CodecError: for a file that cannot be read, or lacks a tensor.
    """
    path = Path(path)
    try:
        safe = path.suffix == ".safetensors"
        tensors = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Damaged files raise what they please.
        raise CodecError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error
    return convert_released(tensors, str(path))


def convert_released(tensors: dict[str, Tensor], where: str = "weights") -> PatchEncoder:
    """An encoder of a state dict with the released names.

    Width, blocks and the frames that it sees at once (608, or 992 of those that were trained further on labels) are
    taken from the shapes.

    Raises:
        CodecError: when a tensor is missing or has another shape.
    """
    numbers = {name.split(".")[2] for name in tensors if name.startswith("student_encoder.blocks.")}
    table = key_table(len(numbers))
    missing = [name for name in table if name not in tensors]
    if missing or not numbers:
        raise CodecError(
            f"{where}: not of a MATPAC encoder, {missing[0] if missing else 'student_encoder.blocks'} is missing"
        )
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    rows = LogMelConfig().num_mels // patch
    columns = (tensors["pos_embed"].shape[1] - 1) // rows
    config = PatchEncoderConfig(
        dim=width, depth=len(numbers), heads=max(1, width // _HEAD_DIM), patch=patch, frames=columns * patch
    )
    renamed = {ours: tensors[theirs].float() for theirs, ours in table.items()}
    encoder = PatchEncoder(config)
    try:
        # The summary token's own position, zeros as released, is added to it.
        positions = renamed["positions"][0]
        renamed["cls"] = renamed["cls"] + positions[:1]
        renamed["positions"] = positions[1:]
        encoder.load_state_dict(renamed)
    except RuntimeError as error:
        raise CodecError(f"{where}: does not fit ({' '.join(str(error).split())[:300]})") from None
    return encoder.eval().requires_grad_(False)
