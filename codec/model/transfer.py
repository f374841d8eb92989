"""Weights of one model for another that has the same tokens and, in its decoder, perhaps more than it."""

import torch
from torch import Tensor

from codec.model.codec import Codec
from codec.model.fingerprint import token_settings


def fitting_weights(source: Codec, target: Codec) -> dict[str, Tensor] | None:
    """The tensors of ``source`` in the shapes of ``target``, for its ``load_state_dict``.

    Rows that ``target`` has beyond those of ``source``, and tensors that only it has, keep their values, as
    those of noise that is drawn in a decoder.

    Returns:
        ``None`` when encoder or quantizer have other settings, or a tensor of ``source`` has no place.
    """
    if token_settings(source) != token_settings(target):
        return None
    # With plain weights, as a file has them: those of a SEANet in training are in the weight-norm form.
    plain = Codec(target.config)
    plain.load_state_dict(target.state_dict())
    merged: dict[str, Tensor] = plain.state_dict()
    for name, tensor in source.state_dict().items():
        own = merged.get(name)
        if own is None or own.shape[1:] != tensor.shape[1:] or len(own) < len(tensor):
            return None
        merged[name] = torch.cat([tensor, own[len(tensor) :]])
    return merged
