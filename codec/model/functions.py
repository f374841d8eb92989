"""The two step functions of a model: sound to codes, and latents to sound."""

from typing import TYPE_CHECKING

from torch import Tensor

from codec.model.blocked import BlockedSteps
from codec.model.quantizer import half_norms
from codec.model.states import State
from codec.model.steps import Steps

if TYPE_CHECKING:
    from codec.model.codec import Codec


def encoding(model: "Codec", batch: int, num_codebooks: int | None, deterministic: bool) -> Steps:
    """From ``(B, n * hop)`` samples to ``(B, K, n)`` codes, by the codebooks of this moment."""
    # For a single frame they would be a tenth of the work.
    norms = half_norms(model.quantizer.codebooks)

    def function(wav: Tensor, state: State = None) -> tuple[Tensor, State]:
        latent, state = model.encoder(wav, state)
        return model.quantizer.encode(latent, num_codebooks, norms), state

    return _class_of(deterministic)(function, batch, model.hop_length, model.encoder.min_rows)


def decoding(model: "Codec", batch: int, deterministic: bool) -> Steps:
    """From latents ``(B, D, n)`` to ``(B, n * hop)`` samples, late by the decoder's delay."""
    return _class_of(deterministic)(model.decoder, batch, 1, model.decoder.min_rows)


def _class_of(deterministic: bool) -> type[Steps]:
    return BlockedSteps if deterministic else Steps
