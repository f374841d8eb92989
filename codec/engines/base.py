"""The interface of an engine: the two step functions of a network, audio to codes and codes to audio."""

from dataclasses import dataclass
from typing import Protocol

from codec.model.steps import StepFunction, Steps


@dataclass(frozen=True)
class Computation:
    """Properties of an engine's computation.

    Attributes:
        function: the step function.
        min_rows: least rows of its steps (:class:`codec.model.registry.Encoder`).
        steps: what carries states through it.
        end: the step function of a signal's end that is no whole frame, where ``function`` cannot do it.
    """

    function: StepFunction
    min_rows: int
    steps: type[Steps] = Steps
    end: StepFunction | None = None


class Engine(Protocol):
    """Computes the step functions of one network, with PyTorch or ONNX Runtime, for example.

    A function computes with the weights of the moment in which it was made, to its end.
    """

    name: str

    def encoding(self, num_codebooks: int) -> Computation:
        """``(wav (B, n * hop), state)`` to ``(codes (B, K, n) int64, state)``."""

    def decoding(self) -> Computation:
        """``(codes (B, K, n) int64, state)`` to ``(wav (B, n * hop), state)``, late by the decoder's delay.

        The codes are of the first K layers; :data:`codec.quantizers.ABSENT` leaves a code out.
        """
