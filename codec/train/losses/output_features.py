"""Features that a speech model finds in the decoded audio."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.encoders.whisper_layers import WhisperLayers
from codec.errors import CodecError
from codec.train.losses.registry import LossContext, loss
from codec.train.types import LossInput


@loss("output_features")
class OutputFeaturesLoss(nn.Module):
    """``mean |f(X) - f(Y)|``, f the mean of a frozen Whisper encoder's layers, each layer-normalised.

    The loss that mends words in JHCodec (arXiv 2603.05887, section 3): what a recogniser needs has to come out of
    the decoder. The model that gives the features must not judge the result: measure words with another.
    """

    @dataclass(frozen=True)
    class Config:
        """The model."""

        model: str = ""
        """Whisper: a hub id, a folder, or package:NAME/FOLDER."""
        precision: str = "bf16"
        """bf16 or fp32, of the encoder's layers."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if config.precision not in ("bf16", "fp32"):
            raise CodecError(f"losses.output_features: precision {config.precision!r} is none of bf16, fp32")
        self.features = WhisperLayers(config.model, mixed=config.precision == "bf16")
        if self.features.sample_rate != context.sample_rate:
            raise CodecError(
                f"losses.output_features: {config.model} hears {self.features.sample_rate} Hz, the codec "
                f"{context.sample_rate} Hz"
            )

    def forward(self, inputs: LossInput) -> Tensor:
        """See :class:`codec.train.losses.registry.loss`."""
        with torch.no_grad():
            real = self.features(inputs.real)
        return (self.features(inputs.fake) - real).abs().mean()
