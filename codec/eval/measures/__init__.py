"""Measures: each judges one pair of reference and output."""

from codec.eval.measures import (  # noqa: F401  (they register themselves)
    distances,
    distillmos,
    dnsmos,
    hum,
    intelligibility,
    moonshine,
    pesq,
    recognition,
    speaker,
    visqol,
)
from codec.eval.measures.base import Column, JudgeSettings, Measure
from codec.eval.measures.registry import build_measures, measure, measure_names

__all__ = ["Column", "JudgeSettings", "Measure", "build_measures", "measure", "measure_names"]
