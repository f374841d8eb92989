"""Features that a speech model finds in the decoded audio."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.encoders.whisper_layers import WhisperLayers
from codec.errors import CodecError
from codec.train.distributed import all_reduce_sum, world_size
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
        teacher: str | None = None
        """Of the config's teachers, the one whose domains say which clips count; by default all do."""
        crops: int | None = None
        """How many crops of each process it hears, the first ones; all by default. On a CPU it takes half of a step."""

    def __init__(self, config: Config, context: LossContext):
        super().__init__()
        if config.precision not in ("bf16", "fp32"):
            raise CodecError(f"losses.{context.name}: precision {config.precision!r} is none of bf16, fp32")
        if config.teacher is not None and config.teacher not in context.clip_teachers:
            raise CodecError(f"losses.{context.name}: {config.teacher!r} is no teacher with attach: output")
        if config.crops is not None and config.crops < 1:
            raise CodecError(f"losses.{context.name}: crops must be 1 or more, got {config.crops}")
        self.teacher, self.crops = config.teacher, config.crops
        self.features = WhisperLayers(config.model, mixed=config.precision == "bf16")
        if self.features.sample_rate != context.sample_rate:
            raise CodecError(
                f"losses.{context.name}: {config.model} hears {self.features.sample_rate} Hz, the codec "
                f"{context.sample_rate} Hz"
            )

    def forward(self, inputs: LossInput) -> Tensor:
        """See :class:`codec.train.losses.registry.loss`."""
        real, fake = inputs.real[: self.crops], inputs.fake[: self.crops]
        if self.teacher is None:
            return self._distance(real, fake).mean()
        seen = inputs.batch.teachers[self.teacher].mask[: self.crops]
        total = seen.sum().float()
        if self.training:
            # DDP averages gradients over processes: with the mean count, that is the global mean.
            total = all_reduce_sum(total) / world_size()
        if not seen.any():
            # Zero, and without a gradient: the model is not even asked.
            return inputs.fake.new_zeros(())
        return self._distance(real[seen], fake[seen]).sum() / total

    def _distance(self, real: Tensor, fake: Tensor) -> Tensor:
        """``(B,)``: mean over frames and dimensions."""
        with torch.no_grad():
            target = self.features(real)
        return (self.features(fake) - target).abs().mean(dim=(1, 2))
