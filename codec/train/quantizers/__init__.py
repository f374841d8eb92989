"""Training of each kind of quantizer."""

from collections.abc import Callable
from typing import Any

from codec.quantizers import Quantizer
from codec.quantizers.fsq import FiniteScalarQuantizer
from codec.quantizers.rvq import ResidualVQ
from codec.quantizers.split import SplitVQ
from codec.train.quantizers.base import QuantizerTrainer, QuantizerTrainingConfig
from codec.train.quantizers.fsq import FsqTrainer
from codec.train.quantizers.residual import EMAResidualVQ
from codec.train.quantizers.split import SplitTrainer

__all__ = ["EMAResidualVQ", "QuantizerTrainer", "QuantizerTrainingConfig", "train_quantizer"]

_TRAINERS: dict[type[Quantizer], Callable[[Any, QuantizerTrainingConfig], QuantizerTrainer]] = {
    ResidualVQ: EMAResidualVQ,
    SplitVQ: SplitTrainer,
    FiniteScalarQuantizer: FsqTrainer,
}


def train_quantizer(quantizer: Quantizer, config: QuantizerTrainingConfig) -> QuantizerTrainer:
    """The trainer of a quantizer, which changes it in place."""
    return _TRAINERS[type(quantizer)](quantizer, config)
