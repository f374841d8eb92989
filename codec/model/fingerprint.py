"""What identifies the meaning of codes: a hash of encoder, codebooks and config."""

import hashlib
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from codec.model.codec import Codec


def fingerprint(model: "Codec") -> str:
    """16 hex digits of SHA-256 over the config, the encoder's tensors and the codebooks.

    The decoder is left out: a better decoder for the same codes keeps old tokens valid. Tensors
    are hashed as float32, the form in which they are used, whatever the file stores.
    """
    from codec.model.config import config_to_json

    tensors = dict(model.encoder.state_dict(prefix="encoder."))
    tensors.update(model.quantizer.state_dict(prefix="quantizer."))
    return _digest(config_to_json(model.config), tensors)


def decoder_fingerprint(model: "Codec") -> str:
    """The same of the decoder's tensors: equal when codes sound the same."""
    from codec.model.config import config_to_json

    return _digest(config_to_json(model.config), model.decoder.state_dict(prefix="decoder."))


def _digest(config: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(config.encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
