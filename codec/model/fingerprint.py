"""What identifies the meaning of codes: a hash of encoder, codebooks and config."""

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from codec.model.codec import Codec


def fingerprint(model: "Codec") -> str:
    """16 hex digits of SHA-256 over the config, the encoder's tensors and the codebooks.

    The decoder is left out: a better decoder for the same codes keeps old tokens valid. Tensors
    are hashed as float32, the form in which they are used, whatever the file stores.
    """
    from codec.model.config import config_to_json

    digest = hashlib.sha256(config_to_json(model.config).encode())
    tensors = dict(model.encoder.state_dict(prefix="encoder."))
    tensors.update(model.quantizer.state_dict(prefix="quantizer."))
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
