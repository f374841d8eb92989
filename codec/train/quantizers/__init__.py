"""How each kind of quantizer learns. A new one is one file in this folder with ``@trains("type")``."""

from codec.train.quantizers.base import QuantizerTrainer, QuantizerTrainingConfig, train_quantizer
from codec.train.quantizers.residual import EMAResidualVQ

__all__ = ["EMAResidualVQ", "QuantizerTrainer", "QuantizerTrainingConfig", "train_quantizer"]
