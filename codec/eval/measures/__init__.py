"""Metrics: each scores one pair of reference and output. A new one is one file here with ``@measure("name")``."""

from codec.deprecation import renamed
from codec.eval.measures.base import Column, Measure, MetricSettings
from codec.eval.measures.registry import build_measures, measure, measure_names

__all__ = ["Column", "Measure", "MetricSettings", "build_measures", "measure", "measure_names"]

__getattr__ = renamed(__name__, {"JudgeSettings": ("MetricSettings", MetricSettings)})
