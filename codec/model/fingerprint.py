"""Identify the meaning of codes by a hash of the encoder and the quantizer."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor

from codec.model.network import Network
from codec.quantizers.base import changed_settings

VERSION = "codec tokens 2"
"""Version of the hashed content; begins every hash."""


def fingerprint(model: Network) -> str:
    """16 hex digits of SHA-256 over all that decides which codes a clip gets.

    These are the architecture, the sample rate, the settings of encoder and quantizer, and their tensors.
    The decoder and its settings are excluded: a better decoder for the same codes keeps old tokens valid.
    Settings at their defaults are excluded, so that a new setting does not change the models without it.
    Tensors are hashed as float32, the form in which they are used, whatever the file stores.
    """
    tensors = model.encoder.state_dict(prefix="encoder.") | model.quantizer.state_dict(prefix="quantizer.")
    return _digest(token_settings(model), tensors)


def token_settings(model: Network) -> dict[str, Any]:
    """The settings that decide what codes mean: all but the decoder's and those at their defaults."""
    return _settings(model, leave_out=model.config.network.decoder_settings)


def decoder_fingerprint(model: Network) -> str:
    """The same of the quantizer and the decoder: equal when the same codes give the same audio."""
    tensors = model.decoder.state_dict(prefix="decoder.") | model.quantizer.state_dict(prefix="quantizer.")
    return _digest(_settings(model), tensors)


def _settings(model: Network, leave_out: Collection[str] = ()) -> dict[str, Any]:
    config = model.config
    network = changed_settings(config.network)
    return {
        "architecture": config.architecture,
        "sample_rate": config.sample_rate,
        "quantizer": _named(config.quantizer.type) | changed_settings(config.quantizer),
        "network": {name: value for name, value in network.items() if name not in leave_out},
    }


def _named(kind: str) -> dict[str, str]:
    return {} if kind == "rvq" else {"type": kind}


def _digest(settings: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    text = json.dumps(settings, sort_keys=True, separators=(",", ":"))
    digest = hashlib.sha256(f"{VERSION}\n{text}\n".encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
