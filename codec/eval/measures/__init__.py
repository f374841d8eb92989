"""Measures: each judges one pair of reference and output. A new one is one file here with ``@measure("name")``."""

from codec.eval.measures.base import Column, JudgeSettings, Measure
from codec.eval.measures.registry import build_measures, measure, measure_names

__all__ = ["Column", "JudgeSettings", "Measure", "build_measures", "measure", "measure_names"]
