"""Types that the parts of training exchange."""

from dataclasses import dataclass

from torch import Tensor

from codec.data.batch import Batch
from codec.discriminators.registry import Judgement


@dataclass
class QuantizerOutput:
    """Result of the quantizer in training.

    Attributes:
        latent: ``(B, D, T)`` what went in, with gradient.
        quantized: ``(B, D, T)`` sum of the active layers, straight-through to ``latent``.
        sums: ``(K, B, D, T)``; entry k is the sum of layers 1 to k + 1. Detached unless ``projected``.
        codes: ``(B, K, T)`` int64.
        commitment: scalar, mean over active layers of the masked MSE(residual_k, sg(q_k)).
        active: ``(B,)`` int64, layers that the decoder is given of each clip.
        projected: whether the gradient reaches the latent through the sums, and projections on the way.
    """

    latent: Tensor
    quantized: Tensor
    sums: Tensor
    codes: Tensor
    commitment: Tensor
    active: Tensor
    projected: bool = False

    def prefix(self, num_codebooks: int) -> Tensor:
        """``(B, D, T)``: layers 1 to ``num_codebooks``, straight-through to the latent.

        One straight-through step over the whole sum, so a loss on any prefix reaches the encoder.
        """
        if self.projected:
            return self.sums[num_codebooks - 1]
        return self.latent + (self.sums[num_codebooks - 1] - self.latent).detach()

    def at(self, attach: str, layers: int | None) -> Tensor:
        """``(B, D, T)`` at an attach point: that many layers, else the latent or all that the decoder is given."""
        if layers is not None:
            return self.prefix(layers)
        return self.latent if attach == "latent" else self.quantized


@dataclass
class LossInput:
    """Everything that a generator loss may use.

    Attributes:
        real: ``(B, T)`` target waveform.
        fake: ``(B, T)`` decoded waveform.
        batch: the step's batch (masks, teachers).
        quantizer: the quantizer's output.
        judgement: the discriminators' outputs; ``None`` before they start.
    """

    real: Tensor
    fake: Tensor
    batch: Batch
    quantizer: QuantizerOutput
    judgement: Judgement | None = None
