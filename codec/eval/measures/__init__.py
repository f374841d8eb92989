"""Metrics: each scores one pair of reference and output."""

from codec.deprecation import renamed
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
from codec.eval.measures.base import Column, Measure, MetricSettings
from codec.eval.measures.registry import build_measures, measure, measure_names

__all__ = ["Column", "Measure", "MetricSettings", "build_measures", "measure", "measure_names"]

__getattr__ = renamed(__name__, {"JudgeSettings": ("MetricSettings", MetricSettings)})
