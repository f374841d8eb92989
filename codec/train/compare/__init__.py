"""Comparisons at equal budget: train variants of one config over seeds, score them, tabulate."""

from codec.train.compare.comparison import compare
from codec.train.compare.config import CompareConfig
from codec.train.compare.merge import merge

__all__ = ["CompareConfig", "compare", "merge"]
