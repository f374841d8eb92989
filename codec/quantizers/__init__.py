"""Quantizers: from latents to codes and back, behind one door."""

from codec.quantizers import fsq, rvq, split  # noqa: F401  (they register themselves)
from codec.quantizers.base import ABSENT, Quantizer, quantizer_class

__all__ = ["ABSENT", "Quantizer", "quantizer_class"]
