"""The two step functions of a model, sound to codes and codes to sound, and who computes them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from codec.model.blocked import BlockedSteps
from codec.model.quantizer import half_norms
from codec.model.states import State
from codec.model.steps import StepFunction, Steps

if TYPE_CHECKING:
    from codec.model.codec import Codec

ABSENT = -1
"""In place of a code: this layer adds nothing. A frame without any code is the zero latent."""


@dataclass(frozen=True)
class Computation:
    """How an engine computes.

    Attributes:
        function: the step function.
        min_rows: least rows of its steps (:class:`codec.model.registry.Encoder`).
        steps: what carries states through it.
    """

    function: StepFunction
    min_rows: int
    steps: type[Steps] = Steps


class Engine(Protocol):
    """What computes the step functions of one model: PyTorch or, say, ONNX Runtime."""

    name: str

    def encoding(self, num_codebooks: int) -> Computation:
        """``(wav (B, n * hop), state)`` to ``(codes (B, K, n) int64, state)``."""

    def decoding(self) -> Computation:
        """``(codes (B, K, n) int64, state)`` to ``(wav (B, n * hop), state)``, late by the decoder's delay.

        The codes are of the first K layers; :data:`ABSENT` leaves a code out.
        """


class TorchEngine:
    """The modules as they are, with the weights and codebooks of the moment in which a function is made."""

    name = "torch"

    def __init__(self, model: "Codec"):
        self.model = model

    def encoding(self, num_codebooks: int) -> Computation:
        encoder, quantizer = self.model.encoder, self.model.quantizer
        # For a single frame they would be a tenth of the work.
        norms = half_norms(quantizer.codebooks)

        def function(wav: Tensor, state: State = None) -> tuple[Tensor, State]:
            latent, state = encoder(wav, state)
            return quantizer.encode(latent, num_codebooks, norms), state

        return Computation(function, encoder.min_rows)

    def decoding(self) -> Computation:
        decoder, codebooks = self.model.decoder, self.model.quantizer.codebooks
        # One row of zeros before the others: the vector of an absent code.
        vectors = torch.cat([torch.zeros_like(codebooks[:, :1]), codebooks], dim=1)

        def function(codes: Tensor, state: State = None) -> tuple[Tensor, State]:
            index = codes + 1
            latent = vectors[0][index[:, 0]]
            for layer in range(1, codes.shape[1]):
                latent = latent + vectors[layer][index[:, layer]]
            return decoder(latent.transpose(1, 2), state)

        return Computation(function, decoder.min_rows)


def encoding(model: "Codec", batch: int, num_codebooks: int | None, deterministic: bool) -> Steps:
    """From ``(B, n * hop)`` samples to ``(B, K, n)`` codes, by the codebooks of this moment."""
    count = model.quantizer.check_count(num_codebooks)
    computation = _engine(model, deterministic).encoding(count)
    return _steps(computation, batch, model.hop_length, deterministic)


def decoding(model: "Codec", batch: int, deterministic: bool) -> Steps:
    """From codes ``(B, K, n)`` to ``(B, n * hop)`` samples, late by the decoder's delay."""
    return _steps(_engine(model, deterministic).decoding(), batch, 1, deterministic)


def _engine(model: "Codec", deterministic: bool) -> Engine:
    # That its blocks are equal to the last bit is known of PyTorch only.
    return TorchEngine(model) if deterministic else model.engine


def _steps(computation: Computation, batch: int, unit: int, deterministic: bool) -> Steps:
    steps = BlockedSteps if deterministic else computation.steps
    return steps(computation.function, batch, unit, computation.min_rows)
